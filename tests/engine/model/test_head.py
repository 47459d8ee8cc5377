"""The head of a model, run on some tokens, answers as a call of the whole model does."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from engine.calibration.passes import gradients_at_head
from engine.evaluation.perplexity import measure, take_reference
from engine.model import head
from engine.model.head import Head
from engine.progress import ignore_progress
from engine.specs import CalibrationSpec, CorpusSpec, EvaluationSpec
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


class _Casts(TorchDispatchMode):
    """Counts copies of tensors of one shape in another type."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.count = shape, 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        is_cast = operation is torch.ops.aten._to_copy.default
        self.count += is_cast and args[0].shape == self.shape and args[0].dtype is torch.float32
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("fisher", ["empirical", "ggn"])
def test_the_weight_of_the_head_is_cast_once_for_all_turns_of_a_batch(fisher, monkeypatch):
    monkeypatch.setattr(head, "MOST_LOGITS", 5 * 320)
    module = toys.build("llama").requires_grad_(False)
    weight = module.get_output_embeddings().weight
    spec = CalibrationSpec(compute_dtype="bfloat16", fisher=fisher)
    with _Casts(weight.shape) as casts:
        gradients_at_head(module, TOKENS, spec, seed=0)
    assert (casts.count, weight.requires_grad, weight.grad) == (1, False, None)


def test_so_it_is_where_a_model_is_measured(monkeypatch):
    monkeypatch.setattr(head, "MOST_LOGITS", 5 * 320)
    module = toys.build("llama").requires_grad_(False)
    weight = module.get_output_embeddings().weight
    spec = EvaluationSpec(CorpusSpec.parse("demo", part="evaluation", n_sequences=3, length=16), batch_size=2)
    with _Casts(weight.shape) as casts:
        reference = take_reference(module, TOKENS, spec, ignore_progress, torch.bfloat16)
        found = measure(module, TOKENS, reference, spec, ignore_progress, torch.bfloat16)
    assert (casts.count, weight.requires_grad, found.divergence) == (2 * 2, False, pytest.approx(0, abs=1e-6))
