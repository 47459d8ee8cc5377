"""Heads of a projection, against decompositions of their own weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.analysis.heads import HeadLayout, head_spectra, layout_of
from engine.factorization.decomposition import decompose_input_side
from engine.types import Metric, Projection

OUT, IN, HEADS = 6, 8, 3
RANDOM = np.random.default_rng(7)
WEIGHT = RANDOM.normal(size=(OUT, IN))
INPUTS = np.linalg.cholesky((spread := RANDOM.normal(size=(IN, IN))) @ spread.T)
OUTPUTS = np.linalg.cholesky((spread := RANDOM.normal(size=(OUT, OUT))) @ spread.T)


@pytest.mark.parametrize("outputs", [None, OUTPUTS], ids=["outputs alike", "outputs weighted"])
def test_heads_have_the_singular_values_of_their_own_weights(outputs: np.ndarray | None) -> None:
    weigh = np.eye(OUT) if outputs is None else outputs
    left, sigma, _ = np.linalg.svd(weigh.T @ WEIGHT @ INPUTS, full_matrices=False)
    basis = np.linalg.solve(weigh.T, left)
    found = head_spectra(basis, None if outputs is None else left.T @ weigh.T, sigma**2, HEADS)
    for head in range(HEADS):
        rows = slice(2 * head, 2 * head + 2)
        own = np.linalg.cholesky((weigh @ weigh.T)[rows, rows])
        expected = np.linalg.svd(own.T @ WEIGHT[rows] @ INPUTS, compute_uv=False) ** 2
        np.testing.assert_allclose(found.energies[head], expected, rtol=1e-9)
        cut = (basis[:, :2] * sigma[:2]) @ (np.linalg.svd(weigh.T @ WEIGHT @ INPUTS)[2][:2])
        error = np.linalg.norm(own.T @ (WEIGHT @ INPUTS - cut)[rows]) ** 2
        assert found.lost(2)[head] == pytest.approx(error / expected.sum())
    np.testing.assert_allclose(found.directions.sum(axis=1), found.energies.sum(axis=1))
    if outputs is None:
        np.testing.assert_allclose(found.directions.sum(axis=0), sigma**2)
    assert found.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("metric", [Metric.INPUT, Metric.LOSS])
def test_heads_of_o_have_the_singular_values_of_their_own_columns(metric: Metric) -> None:
    weight, of_inputs, of_outputs = WEIGHT.T, OUTPUTS, INPUTS if metric is Metric.LOSS else np.eye(IN)
    moment, gram = of_inputs @ of_inputs.T, weight.T @ of_outputs @ of_outputs.T @ weight
    stored = decompose_input_side(torch.from_numpy(moment), torch.from_numpy(gram), OUT, 0, "o")
    found = head_spectra(stored.dual.numpy().T, stored.basis.numpy().T, stored.energies.numpy(), HEADS)
    cut = weight @ (stored.basis[:, :2] @ stored.dual[:2]).numpy()
    for head in range(HEADS):
        columns = slice(2 * head, 2 * head + 2)
        own = np.linalg.cholesky(moment[columns, columns])
        expected = np.linalg.svd(of_outputs.T @ weight[:, columns] @ own, compute_uv=False) ** 2
        np.testing.assert_allclose(found.energies[head], expected, rtol=1e-9)
        error = np.linalg.norm(of_outputs.T @ (weight - cut)[:, columns] @ own) ** 2
        assert found.lost(2)[head] == pytest.approx(error / expected.sum())


def test_a_configuration_says_how_heads_are_divided_or_that_there_are_none() -> None:
    grouped = {"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3}
    assert layout_of(grouped) == HeadLayout(9, 3, 64)
    assert layout_of({"text_config": {**grouped, "head_dim": 128}}) == HeadLayout(9, 3, 128)
    assert layout_of({"hidden_size": 64, "num_attention_heads": 4}) == HeadLayout(4, 4, 16)
    assert layout_of({"hidden_size": 64}) is None


def test_query_heads_share_keys_in_order_and_other_projections_have_no_heads() -> None:
    layout = HeadLayout(9, 3, 64)
    assert [layout.keys_of(query) for query in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    counts = {kind: layout.count(Projection(kind, 0, kind, 576, 576)) for kind in ("q", "k", "o", "gate")}
    assert counts == {"q": 9, "k": None, "o": 9, "gate": None}
    assert layout.count(Projection("o", 0, "o", 576, 640)) is None
