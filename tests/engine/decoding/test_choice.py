"""The next token is drawn from the model's probabilities at the temperature."""

from __future__ import annotations

import pytest
import torch

from engine.decoding.generation import _Choose
from engine.specs import GenerationSpec


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_probabilities_at_the_temperature(temperature: float) -> None:
    probabilities = torch.tensor([0.6, 0.3, 0.1])
    choose = _Choose(GenerationSpec(1, temperature, seed=3), torch.device("cpu"))
    chosen = choose(torch.zeros(20_000, 1), probabilities.log().expand(20_000, -1)).argmax(-1)
    expected = probabilities ** (1 / temperature)
    expected = expected / expected.sum()
    torch.testing.assert_close(chosen.bincount(minlength=3) / 20_000, expected, atol=0.015, rtol=0)
