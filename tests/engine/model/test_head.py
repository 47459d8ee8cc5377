"""The head of a model, run on some tokens, answers as a call of the whole model does."""

from __future__ import annotations

import pytest
import torch

from engine.model import head
from engine.model.head import Head
from tests.support import architectures, toys

TOKENS = toys.tokens(3, 16)
SHOW_NO_STATES = {"opt"}


@pytest.mark.parametrize("n_logits", [2**25, 32 * 320, 7 * 320, 1])
@pytest.mark.parametrize("name", ["llama", "cohere", "gemma2", "gpt2", "opt"])
@torch.no_grad()
def test_logits_in_turns_are_those_of_a_call(name, n_logits, monkeypatch):
    monkeypatch.setattr(head, "MOST_LOGITS", n_logits)
    module = architectures.build(name).eval()
    expected = module(input_ids=TOKENS, use_cache=False).logits
    one = Head(module, TOKENS)
    labels, logits = map(torch.cat, zip(*one.turns(one.states), strict=True))
    assert torch.equal(labels, TOKENS[:, 1:].flatten())
    torch.testing.assert_close(logits, expected[:, :-1].flatten(0, 1), rtol=1e-6, atol=1e-6)
    assert torch.equal(one.logits(one.states), expected)


@torch.no_grad()
def test_the_model_is_as_it_was_afterwards():
    module = toys.build("llama")
    one = Head(module, TOKENS)
    list(one.turns(one.states))
    assert not [part for part in module.modules() if "forward" in part.__dict__]
