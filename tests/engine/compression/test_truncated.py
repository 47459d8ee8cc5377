"""Truncated weights in the place of the original ones, for as long as the context is open."""

from __future__ import annotations

import pytest
import torch

from engine.compression.apply import compress
from engine.compression.truncated import truncated_weights
from engine.types import BlockRank, Format
from tests.support import toys

TOKENS = toys.tokens(4, 16)


@pytest.mark.parametrize("name", ["llama-gqa", "gpt2", "opt"])
def test_the_model_runs_as_the_compressed_one_and_comes_back_unchanged(name):
    module, inventory, factors = toys.factored(name, TOKENS)
    blocks = [
        BlockRank(tuple(p.name for p in g.members), Format.CAT if len(g.members) > 1 else Format.LOW_RANK, 9)
        for g in inventory.groups
    ]
    blocks[-1] = BlockRank(blocks[-1].members[:1], Format.DENSE, None)
    before = {name: p.clone() for name, p in module.named_parameters()}
    compressed = compress(module, blocks, factors.__getitem__)
    with torch.no_grad(), truncated_weights(module, blocks, factors.__getitem__):
        expected = compressed(input_ids=TOKENS).logits
        torch.testing.assert_close(module(input_ids=TOKENS).logits, expected, rtol=1e-3, atol=1e-3)
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, before[name]), name
