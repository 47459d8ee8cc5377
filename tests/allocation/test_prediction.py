from __future__ import annotations

import math

import pytest

from engine.errors import NumericalError
from engine.prediction import predict_nll_increase, predict_perplexity


def test_nothing_discarded_changes_nothing():
    assert predict_nll_increase(0.0) == 0.0
    assert predict_perplexity(20.86, 0.0) == 20.86


def test_the_increase_is_the_discarded_energy_and_perplexity_its_exponential():
    assert predict_nll_increase(0.7) == 0.7
    assert predict_perplexity(10.0, math.log(2)) == pytest.approx(20.0)


@pytest.mark.parametrize("nats", [800.0, 1e300, math.inf])
def test_ruin_is_infinite(nats):
    assert predict_perplexity(20.0, nats) == math.inf


@pytest.mark.parametrize(("perplexity", "nats"), [(20.0, math.nan), (math.nan, 1.0), (0.5, 1.0)])
def test_what_is_no_number_is_refused(perplexity, nats):
    with pytest.raises(NumericalError):
        predict_perplexity(perplexity, nats)
