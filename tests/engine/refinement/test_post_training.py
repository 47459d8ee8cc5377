"""Trained diagonals: begin as nothing, merge without raising the rank, and help on the text they saw."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from engine.compression.apply import compress
from engine.compression.layers import FactoredLinear
from engine.errors import InvalidSpecError
from engine.progress import ignore_progress
from engine.refinement.post_training import (
    DiagonalLinear,
    merge_diagonals,
    scaled_left,
    train_diagonals,
)
from engine.specs import PostTrainingSpec
from engine.types import RANK_FORMATS, Format, Metric
from tests.engine.compression.test_apply import Toy
from tests.support import toys

TOKENS = toys.tokens(4, 24, seed=3)
QUICK = PostTrainingSpec(minutes=1, max_steps=12, learning_rate=0.02)


def logits(module):
    with torch.no_grad():
        return module(input_ids=TOKENS, use_cache=False).logits


def loss(module):
    return functional.cross_entropy(logits(module)[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten()).item()


def test_the_update_is_the_published_one_with_the_factors_as_their_own_slices():
    left, right, b, d = torch.randn(7, 3), torch.randn(3, 5), torch.randn(7), torch.randn(3)
    published = left @ right + torch.diag(b) @ left @ torch.diag(d) @ right
    merged = scaled_left(left, b, d) @ right
    torch.testing.assert_close(merged, published)
    assert torch.linalg.matrix_rank(merged) <= 3


def test_an_untrained_diagonal_changes_nothing_and_can_learn():
    toy = Toy("llama")
    compressed = toy.compressed(toy.blocks(Format.LOW_RANK, 0.5))
    part = next(m for m in compressed.modules() if isinstance(m, FactoredLinear))
    x = torch.randn(2, 3, part.inner.right.in_features)
    wrapped = DiagonalLinear(part)
    torch.testing.assert_close(wrapped(x), part(x))
    wrapped(x).square().sum().backward()
    assert wrapped.b.grad.abs().max() > 0


@pytest.mark.parametrize("storage", sorted(RANK_FORMATS))
@pytest.mark.parametrize("name", ["llama-gqa", "gpt2"])
def test_training_lowers_the_loss_and_what_was_learned_is_two_vectors_each(name, storage):
    toy = Toy(name, Metric.FEATURE)
    blocks = toy.blocks(storage, 0.4)
    compressed, fresh = toy.compressed(blocks), toy.compressed(blocks)
    dense = logits(toy.module)
    before = loss(compressed)
    shapes = {n: p.shape for n, p in compressed.named_parameters()}
    flags = {n: p.requires_grad for n, p in toy.module.named_parameters()}
    diagonals = train_diagonals(compressed, TOKENS, QUICK, ignore_progress)
    assert loss(compressed) < before
    assert {n: p.shape for n, p in compressed.named_parameters()} == shapes
    assert not any(isinstance(m, DiagonalLinear) for m in compressed.modules())
    assert all(t.ndim == 1 for t in diagonals.values())
    merge_diagonals(fresh, diagonals)
    torch.testing.assert_close(logits(fresh), logits(compressed))
    torch.testing.assert_close(logits(toy.module), dense)
    assert {n: p.requires_grad for n, p in toy.module.named_parameters()} == flags


def test_time_is_the_limit():
    toy = Toy("llama")
    steps = []
    spec = PostTrainingSpec(minutes=1e-9)
    train_diagonals(
        toy.compressed(toy.blocks(Format.LOW_RANK, 0.5)), TOKENS, spec, lambda *report: steps.append(report)
    )
    assert len(steps) <= 1


def test_what_cannot_be_trained_is_a_sentence():
    toy = Toy("llama")
    with pytest.raises(InvalidSpecError, match="no factored projection"):
        train_diagonals(compress(toy.module, [], toy.factors.__getitem__), TOKENS, QUICK, ignore_progress)
    with pytest.raises(InvalidSpecError, match="for 0 minutes"):
        PostTrainingSpec(minutes=0)
