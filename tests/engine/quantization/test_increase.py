"""What rounding is predicted to add, against the second-order increase of the errors it really makes."""

from __future__ import annotations

import pytest
import torch

from engine.calibration.statistics import LayerStatistics
from engine.compression.apply import balanced
from engine.factorization.blocks import factorize_group
from engine.precision import ROUNDINGS
from engine.quantization.increase import (
    dense_nats,
    factored_nats,
    gradient_energies,
    input_energies,
    without_largest_direction,
)
from engine.quantization.rounding import round_matrix
from engine.types import InputGroup, Metric, Projection

BITS = pytest.mark.parametrize("bits", sorted(ROUNDINGS))
SHAPES = pytest.mark.parametrize("shape", [(96, 160), (160, 96)], ids=["wide", "tall"])


def moment(width, random):
    """A second moment of many samples with scales of their own, no direction far above the others."""
    samples = torch.randn(4 * width, width, generator=random) * (0.5 + torch.rand(width, generator=random))
    return samples.T @ samples / len(samples)


def measured(error, gradients, inputs):
    """Half tr(H^T E G E^T), literally."""
    return float((gradients @ error @ inputs * error).sum()) / 2


def case(shape):
    random = torch.Generator().manual_seed(4)
    out, width = shape
    weight = torch.randn(out, width, generator=random)
    inputs, gradients = moment(width, random), moment(out, random)
    projection = Projection("p", 0, "p", out, width)
    group, wide = InputGroup((projection,)), out <= width
    statistics = LayerStatistics(
        0,
        1,
        inputs={} if wide else {"p": inputs},
        means={"p": torch.zeros(1, width)},
        outputs={"p": weight @ inputs @ weight.T} if wide else {},
        gradients={"p": gradients if wide else weight.T @ gradients @ weight},
    )
    return weight, inputs, gradients, group, statistics


def test_the_largest_direction_is_left_out():
    found = moment(40, torch.Generator().manual_seed(1)) + 50 * torch.outer(*[torch.linspace(-1, 1, 40)] * 2)
    values, vectors = torch.linalg.eigh(found.double())
    rest = vectors[:, :-1] * values[:-1] @ vectors[:, :-1].T
    torch.testing.assert_close(without_largest_direction(found), rest.diagonal(), rtol=1e-6, atol=1e-8)


@BITS
@SHAPES
def test_rounding_a_weight_adds_what_its_error_does(shape, bits):
    weight, inputs, gradients, group, statistics = case(shape)
    energies = input_energies(group, {"p": weight}, statistics)
    predicted = dense_nats(weight, gradient_energies(group.members[0], weight, statistics), energies, ROUNDINGS[bits])
    error = weight - round_matrix(weight, ROUNDINGS[bits])
    assert predicted == pytest.approx(measured(error, gradients, inputs), rel=0.25)


@BITS
@SHAPES
@pytest.mark.parametrize("rank", [16, 48, 80])
def test_rounding_factors_adds_what_the_error_of_their_product_does(shape, bits, rank):
    weight, inputs, gradients, group, statistics = case(shape)
    (factors,) = factorize_group(group, {"p": weight}, statistics, Metric.LOSS, 1e-9)
    energies = input_energies(group, {"p": weight}, statistics)
    of_gradients = gradient_energies(group.members[0], weight, statistics)
    curve = factored_nats(factors, [weight], of_gradients, energies, ROUNDINGS[bits])
    assert curve[0] == 0
    assert (curve.diff() >= 0).all()
    left, right = balanced(*factors.at_rank(rank, weight))
    error = left @ right - round_matrix(left, ROUNDINGS[bits]) @ round_matrix(right, ROUNDINGS[bits])
    assert float(curve[rank]) == pytest.approx(measured(error, gradients, inputs), rel=0.35)
