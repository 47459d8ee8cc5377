"""Sums of moments against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from engine.calibration.statistics import LayerStatistics, LayerSums
from engine.errors import NumericalError
from engine.types import InputGroup, Projection

WIDE = Projection("m.down", 0, "down", 2, 3)
TALL = Projection("m.up", 0, "up", 3, 2)


def group(*members):
    return InputGroup(tuple(members))


def test_inputs_are_summed_as_outer_products_and_averaged_by_sequence():
    sums, pair = LayerSums(0, 2), group(TALL, Projection("m.gate", 0, "gate", 3, 2))
    sums.add_input(pair, torch.tensor([[[1.0, 2.0], [3.0, 0.0]]]), slice(0, 1))
    sums.add_input(pair, torch.tensor([[[0.0, 1.0], [2.0, 1.0]]]), slice(1, 2))
    sums.add_output(pair, torch.ones(1, 2, 3), None)
    found = sums.average(4, 4)
    assert found.inputs[pair.name].tolist() == [[3.5, 1.0], [1.0, 1.5]]
    assert found.means[pair.name].tolist() == [[2.0, 1.0], [1.0, 1.0]]
    assert not found.outputs


def test_a_wide_projection_alone_takes_the_moment_of_its_output_without_bias():
    sums, alone = LayerSums(0, 1), group(WIDE)
    sums.add_input(alone, torch.ones(1, 2, 3), slice(0, 1))
    sums.add_output(alone, torch.tensor([[[2.0, 3.0], [1.0, 5.0]]]), torch.tensor([1.0, 1.0]))
    found = sums.average(2, 2)
    assert found.outputs == {WIDE.name: pytest.approx(torch.tensor([[0.5, 1.0], [1.0, 10.0]]))}
    assert not found.inputs


def test_gradients_of_tokens_add_up_to_their_second_moment():
    sums = LayerSums(0, 1)
    sums.add_gradient(WIDE, torch.tensor([[[1.0, -1.0]]]), slice(0, 1))
    sums.add_gradient(WIDE, torch.tensor([[3.0, 1.0]]), slice(0, 1))
    assert sums.average(2, 2).gradients[WIDE.name].tolist() == [[5.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("width", [8, 256, 257, 700])
def test_moments_of_any_width_are_whole_and_symmetric(width):
    torch.manual_seed(0)
    sums, rows = LayerSums(0, 2), torch.randn(2, 30, width)
    square = Projection("m.square", 0, "square", width, width)
    sums.add_gradient(square, rows[:1], slice(0, 1))
    sums.add_gradient(square, rows[1:], slice(1, 2))
    moment = sums.average(60, 60).gradients[square.name]
    torch.testing.assert_close(moment, torch.cat(list(rows)).T @ torch.cat(list(rows)) / 60, rtol=1e-5, atol=1e-5)
    assert torch.equal(moment, moment.T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_importances_of_half_precision_weights_are_added_in_float32(dtype):
    sums, gradient = LayerSums(0, 1), torch.full((2, 3), 200.0, dtype=dtype)
    sums.add_importance(WIDE, gradient, torch.full((2, 3), 2.0, dtype=dtype))
    assert sums.average(1, 1).importances[WIDE.name].tolist() == [6 * 400.0**2, 6 * 400.0, 6 * 200.0**2]


def test_importances_of_batches_add_up():
    sums, weight = LayerSums(0, 1), torch.tensor([[1.0, 2.0]])
    sums.add_importance(WIDE, torch.tensor([[3.0, -1.0]]), weight)  # products 3 and -2
    sums.add_importance(WIDE, torch.tensor([[-1.0, -1.0]]), weight)  # products -1 and -2
    assert sums.average(1, 1).importances[WIDE.name].tolist() == [13.0 + 5.0, 1.0 + 3.0, 10.0 + 2.0]


def test_importances_of_a_large_weight_lose_nothing_small():
    sums, gradient = LayerSums(0, 1), torch.full((1024, 2048), 2.0**-10)
    gradient[:2] = 1.0
    of_small = 1022 * 2048
    sums.add_importance(WIDE, gradient, torch.full_like(gradient, 2.0))
    squares = 2 * 2048 + of_small * 2.0**-20
    found = sums.average(1, 1).importances[WIDE.name].tolist()
    assert found == pytest.approx([4 * squares, 2 * (2 * 2048 + of_small * 2.0**-10), squares], rel=1e-6)


def test_runs_of_different_lengths_merge_to_the_whole():
    torch.manual_seed(0)
    x = torch.randn(4, 5, 2)
    group_of_one = group(TALL)

    def moments(*sequences):
        sums = LayerSums(0, len(sequences))
        for index, sequence in enumerate(sequences):
            rows = slice(sequence, sequence + 1)
            sums.add_input(group_of_one, x[rows], slice(index, index + 1))
            sums.add_gradient(TALL, x[rows], slice(index, index + 1))
        return sums.average(5 * len(sequences), 5 * len(sequences))

    whole = moments(0, 1, 2, 3)
    merged = LayerStatistics.merged([moments(0), moments(1, 2, 3)], 20)
    assert merged.n_tokens == 20
    for kind, name in (("inputs", group_of_one.name), ("gradients", TALL.name), ("means", group_of_one.name)):
        torch.testing.assert_close(getattr(merged, kind)[name], getattr(whole, kind)[name])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_moment_that_is_not_finite_is_named(value):
    sums = LayerSums(0, 1)
    sums.add_gradient(TALL, torch.tensor([[value, 1.0]]), slice(0, 1))
    with pytest.raises(NumericalError, match=r"moment of m\.up is not finite"):
        sums.average(1, 1)
