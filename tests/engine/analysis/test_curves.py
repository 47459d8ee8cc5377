"""Summaries of spectra against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.analysis.curves import SpectrumSummary, summarise_spectrum


def test_equal_energies_have_every_rank() -> None:
    found = summarise_spectrum(np.full(8, 3.0))
    assert (found.stable_rank, found.rank_99, found.full_rank) == (8.0, 8, 8)
    assert found.effective_rank == pytest.approx(8.0)


def test_unequal_energies_by_hand() -> None:
    found = summarise_spectrum(np.array([90.0, 9.5, 0.5, 0.0]))
    sigma = [math.sqrt(energy) for energy in (90.0, 9.5, 0.5)]
    entropy = -sum(part / sum(sigma) * math.log(part / sum(sigma)) for part in sigma)
    assert found.effective_rank == pytest.approx(math.exp(entropy))
    assert found.stable_rank == pytest.approx(100 / 90)
    assert (found.rank_99, found.full_rank) == (2, 4)


def test_the_smallest_rank_that_holds_99_percent_is_not_one_less() -> None:
    assert summarise_spectrum(np.array([98.9, 1.1])).rank_99 == 2
    assert summarise_spectrum(np.array([99.1, 0.9])).rank_99 == 1


def test_no_energy_has_no_rank() -> None:
    assert summarise_spectrum(np.zeros(3)) == SpectrumSummary(0.0, 0.0, 0, 3)
