"""Perplexity is one quotient over all tokens."""

from __future__ import annotations

import math

import pytest
import torch

from engine.evaluation.perplexity import DenseReference


def test_perplexity_is_the_exponential_of_the_mean_and_not_the_mean_of_exponentials():
    nothing = torch.zeros(2, 1)
    reference = DenseReference(torch.tensor([0.0, 2.0]), nothing, nothing.int())
    assert reference.perplexity == pytest.approx(math.e)
