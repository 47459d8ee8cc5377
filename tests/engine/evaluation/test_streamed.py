"""Runs of a model that begin where another was, against whole ones."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch

from engine.evaluation.perplexity import measure, take_reference
from engine.evaluation.streamed import LayerByLayer
from engine.model.module import decoder_layers
from engine.progress import ignore_progress
from engine.specs import CorpusSpec, EvaluationSpec
from tests.engine.calibration.test_streamed import FAMILIES, REFUSED
from tests.support import architectures, toys

TOKENS = toys.tokens(3, 16)
SPEC = EvaluationSpec(CorpusSpec.parse("demo", part="evaluation", n_sequences=3, length=16), batch_size=2)


def check_begun(name, dtype):
    dense = architectures.build(name)
    dense.eval()
    last = len(decoder_layers(dense)) - 1
    other = copy.deepcopy(dense)
    shared = {id(parameter) for layer in decoder_layers(other)[:last] for parameter in layer.parameters()}
    with torch.no_grad():
        for parameter in decoder_layers(other)[last].parameters():
            if id(parameter) not in shared:
                parameter.mul_(0.5)
    by_layer = LayerByLayer(dense, lambda _: contextlib.nullcontext(), keep={last})
    reference = take_reference(dense, TOKENS, SPEC, ignore_progress, dtype)
    kept = take_reference(by_layer, TOKENS, SPEC, ignore_progress, dtype)
    assert torch.equal(kept.nll, reference.nll)
    begun = LayerByLayer(other, lambda _: contextlib.nullcontext(), start=by_layer.starts[last])
    found = measure(begun, TOKENS, reference, SPEC, ignore_progress, dtype)
    whole = measure(other, TOKENS, reference, SPEC, ignore_progress, dtype)
    assert found == whole
    assert torch.equal(found.token_nll, whole.token_nll)
    assert whole.divergence > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_run_that_begins_with_a_changed_layer_is_the_whole_one_to_the_bit(name, dtype):
    check_begun(name, dtype)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(architectures.SETTINGS.keys() - set(FAMILIES) - set(REFUSED)))
def test_so_is_that_of_every_other_architecture(name):
    check_begun(name, torch.bfloat16)
