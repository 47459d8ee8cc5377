"""Perplexity is one quotient over all tokens."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from engine.evaluation.perplexity import DenseReference, measure, take_reference
from engine.progress import ignore_progress
from engine.specs import CorpusSpec, EvaluationSpec


def test_perplexity_is_the_exponential_of_the_mean_and_not_the_mean_of_exponentials():
    nothing = torch.zeros(2, 1)
    reference = DenseReference(torch.tensor([0.0, 2.0]), nothing, nothing.int())
    assert reference.perplexity == pytest.approx(math.e)


class Same(nn.Module):
    """Predicts the same at every place."""

    def __init__(self, probabilities):
        super().__init__()
        self.scores = nn.Parameter(torch.tensor(probabilities).log())

    def forward(self, input_ids, use_cache):
        return SimpleNamespace(logits=self.scores.expand(*input_ids.shape, -1))


@pytest.mark.parametrize(
    ("probabilities", "agreement"), [([0.5, 0.3, 0.2], 1.0), ([0.3, 0.5, 0.2], 1.0), ([0.3, 0.2, 0.5], 0.0)]
)
def test_either_of_two_tokens_the_dense_model_ties_on_agrees(probabilities, agreement):
    tokens = torch.zeros(2, 9, dtype=torch.int64)
    spec = EvaluationSpec(CorpusSpec.parse("demo", part="evaluation", n_sequences=2, length=9))
    reference = take_reference(Same([0.4, 0.4, 0.2]), tokens, spec, ignore_progress)
    assert measure(Same(probabilities), tokens, reference, spec, ignore_progress).agreement == agreement
