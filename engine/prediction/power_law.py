"""What a rank map is predicted to do to the loss, calibrated on the maps that were measured.

For small damage second-order theory makes the increase of the loss half the discarded energy of the loss metric.
Further out the two part, in a way that depends on the text and on the metric the factors are made in. So the
prediction is a power law per metric,

    increase = scale * nats ** exponent,

whose logarithm is a line in ln(nats). The lines of all metrics share a level and a slope and each may deviate
from them; all of these have a Gaussian prior around the identity (scale 1, exponent 1), so the estimate is one small
linear system, few runs move it little, and a metric that was never measured learns from the others. The interval
follows from the same system: its width is what the prior leaves open, times how far the leave-one-out residuals
exceed, or fall short of, what that width promises; what a text of a few thousand tokens is uncertain by comes on top.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engine.errors import NumericalError
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CENTRE: Final = math.log(0.5)
"""Level and slope are those at half a nat, in the middle of the damage people consider."""

LEVEL_SPREAD: Final = 0.4
"""Prior deviation of the shared log level. On the demo model measured over predicted was 0.6 to 1.3 for nine maps in
ten on Wikipedia passages and 0.9 to 2.3 on BBC news (docs/benchmarks.md)."""

METRIC_SPREAD: Final = 0.45
"""Prior deviation of one metric's log level from the shared one. With prices by depth, measured over predicted was in
the middle 0.84 and 1.05 where factors are made in the input metric, 0.9 and 1.0 in the loss metric, on two models; in
analyses of before them 2 to 5 in the loss metric of Gemma-3-270M."""

SLOPE_SPREAD: Final = 0.1
"""Prior deviation of the shared exponent from 1."""

METRIC_SLOPE_SPREAD: Final = 0.2
"""Prior deviation of one metric's exponent from the shared one."""

NOISE: Final = 0.25
"""Prior deviation of single runs around their line, in log nats: between the demo's 0.18 and Gemma-3-270M's 0.32."""

PRIOR_RUNS: Final = 4.0
"""How many runs the prior width counts as when the leave-one-out residuals correct it."""

TWO_SIDED_90: Final = 1.645
"""Standard deviations that hold 90 % of a Gaussian on both sides."""

TEXT_NOISE: Final = 0.002
"""Nats that a measurement on a few thousand tokens is uncertain by: runs of less damage weigh next to nothing."""

LARGEST_RATIO: Final = 8.0
"""Measured over predicted counts as at most this, and at least its inverse, so that one odd run cannot rule."""

EXPONENTS: Final = (0.3, 2.0)
"""Exponents are held in this range; above 0, so predictions increase."""


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One measured rank map: what its factors were made in, its half discarded energy and the measured increase."""

    metric: Metric
    nats: float
    increase: float

    def __post_init__(self) -> None:
        """Check that both are numbers."""
        if not (math.isfinite(self.nats) and math.isfinite(self.increase)):
            raise NumericalError(
                f"A measured run has {self.nats} predicted and {self.increase} measured nats; expected finite "
                "numbers, so measure it again."
            )

    @property
    def tells(self) -> bool:
        """Whether there is damage at all; a dense map teaches nothing."""
        return self.nats > 0


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted increase of the loss in nats per token, within an interval that holds it in nine cases of ten."""

    nll_increase: float
    low: float
    high: float

    def perplexities(self, dense_perplexity: float = 1.0) -> tuple[float, float, float]:
        """Return the predicted perplexity, the lowest and the highest; infinite where one exceeds every float.

        Args:
            dense_perplexity: of the uncompressed model on the text predicted for; 1 for ratios to it.

        Raises:
            NumericalError: the dense perplexity is not a number of at least 1.
        """
        if not dense_perplexity >= 1:
            raise NumericalError(
                f"The dense perplexity was given as {dense_perplexity}; expected a number of at least 1, so "
                "measure the dense model again."
            )
        estimate, low, high = (_exp(value) * dense_perplexity for value in (self.nll_increase, self.low, self.high))
        return estimate, low, high


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``scale * nats ** exponent`` and, with u = ln(nats) - CENTRE, its log variance ``v0 + v1 u + v2 u^2``."""

    scale: float
    exponent: float
    v0: float
    v1: float
    v2: float

    def predict(self, nats: float) -> Prediction:
        """Return the prediction at a number of nats; 0 at 0."""
        if nats <= 0:
            return Prediction(0.0, 0.0, 0.0)
        if math.isinf(nats):
            return Prediction(math.inf, math.inf, math.inf)
        log_nats = math.log(nats)
        u = log_nats - CENTRE
        log_increase = math.log(self.scale) + self.exponent * log_nats
        width = TWO_SIDED_90 * math.sqrt(self.v0 + self.v1 * u + self.v2 * u * u)
        increase = _exp(log_increase)
        # The line's uncertainty is a factor, the text's a number of nats; independent, they add in squares.
        below, above = (
            math.hypot(_exp(log_increase + side) - increase, TWO_SIDED_90 * TEXT_NOISE) for side in (-width, width)
        )
        return Prediction(increase, increase - below, increase + above)


@dataclass(frozen=True, slots=True)
class Predictor:
    """From the nats of a rank map to the increase of the loss on one text.

    Attributes:
        laws: one power law per metric factors may be made in.
        n_runs: measured runs it is calibrated on; with 0 it is the identity.
    """

    laws: Mapping[Metric, PowerLaw]
    n_runs: int

    @classmethod
    def fit(cls, runs: Sequence[MeasuredRun]) -> Predictor:
        """Calibrate on measured runs, all of one analysis and one text; none is enough."""
        telling = [run for run in runs if run.tells]
        fitted = _Fit.of(_features(telling), _log_ratios(telling), _weights(telling))
        return cls({metric: fitted.law(metric) for metric in Metric}, len(telling))

    def predict(self, nats: float, metric: Metric) -> Prediction:
        """Return what a rank map with these nats, its factors made in ``metric``, is predicted to do.

        Raises:
            NumericalError: ``nats`` is not a number.
        """
        if math.isnan(nats):
            raise NumericalError("The discarded energy is not a number; analyse the model again.")
        return self.laws[metric].predict(nats)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values from which the formula can be evaluated anywhere."""
        laws = {metric.value: asdict(law) for metric, law in self.laws.items()}
        constants = {"centre": CENTRE, "deviations": TWO_SIDED_90, "text_noise": TEXT_NOISE}
        return {"laws": laws, "n_runs": self.n_runs, **constants}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Predictor:
        """Undo :meth:`to_json`."""
        return cls({Metric(metric): PowerLaw(**law) for metric, law in value["laws"].items()}, value["n_runs"])


def predict_left_out(runs: Sequence[MeasuredRun]) -> list[Prediction]:
    """Return the prediction of every run by a predictor fitted on all the others."""
    telling = np.array([run.tells for run in runs], dtype=np.bool_)
    features, log_ratios, weights = _features(runs), _log_ratios(runs), _weights(runs)
    predictions = []
    for index, run in enumerate(runs):
        others = telling.copy()
        others[index] = False
        law = _Fit.of(features[others], log_ratios[others], weights[others]).law(run.metric)
        predictions.append(law.predict(run.nats))
    return predictions


_METRICS: Final = tuple(Metric)
_TINY: Final = 1e-100
_PRIOR: Final = np.array(
    [LEVEL_SPREAD**2, SLOPE_SPREAD**2, *[METRIC_SPREAD**2] * len(_METRICS), *[METRIC_SLOPE_SPREAD**2] * len(_METRICS)]
)


def _features(runs: Sequence[MeasuredRun]) -> Floats:
    """Return (n_runs, 10): shared level and slope, then each metric's own."""
    own = np.array([[metric == run.metric for metric in _METRICS] for run in runs], dtype=np.float64)
    own = own.reshape(-1, len(_METRICS))
    u = np.log([max(run.nats, _TINY) for run in runs])[:, None] - CENTRE
    return np.concatenate([np.ones_like(u), u, own, own * u], axis=1)


def _log_ratios(runs: Sequence[MeasuredRun]) -> Floats:
    """Return (n_runs,) ln(measured / predicted), limited; a run that did no harm counts as at the lower limit."""
    ratios = np.array([run.increase / max(run.nats, _TINY) for run in runs])
    result: Floats = np.log(np.clip(ratios, 1 / LARGEST_RATIO, LARGEST_RATIO))
    return result


def _weights(runs: Sequence[MeasuredRun]) -> Floats:
    """Return (n_runs,) one over the variance of a log ratio: the runs' own noise and the text's."""
    of_text = TEXT_NOISE / np.array([max(run.nats, _TINY) for run in runs])
    result: Floats = 1 / (NOISE**2 + of_text**2)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """The posterior of the (10,) deviations from the identity."""

    mean: Floats
    covariance: Floats
    widening: float

    @classmethod
    def of(cls, features: Floats, log_ratios: Floats, weights: Floats) -> _Fit:
        weighted = features * weights[:, None]
        precision = np.diag(1 / _PRIOR) + features.T @ weighted
        covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
        mean = covariance @ (weighted.T @ log_ratios)
        # Leaving a run out of a linear Gaussian fit has a closed form in its leverage.
        leverages = ((weighted @ covariance) * features).sum(axis=1)
        misses = (log_ratios - features @ mean) ** 2 * weights / (1 - leverages)
        variance = (PRIOR_RUNS + float(misses.sum())) / (PRIOR_RUNS + len(log_ratios))
        return cls(mean, covariance, variance * _heavier_tails(PRIOR_RUNS + NOISE**2 * float(weights.sum())))

    def law(self, metric: Metric) -> PowerLaw:
        place = 2 + _METRICS.index(metric)
        level, slope = [0, place], [1, place + len(_METRICS)]
        exponent = min(max(1 + float(self.mean[slope].sum()), EXPONENTS[0]), EXPONENTS[1])
        # At the centre the increase is nats * exp(level), whatever the exponent.
        scale = math.exp(CENTRE + float(self.mean[level].sum()) - exponent * CENTRE)
        v0 = float(self.covariance[np.ix_(level, level)].sum()) + NOISE**2
        v1 = 2 * float(self.covariance[np.ix_(level, slope)].sum())
        v2 = float(self.covariance[np.ix_(slope, slope)].sum())
        return PowerLaw(scale, exponent, self.widening * v0, self.widening * v1, self.widening * v2)


def _heavier_tails(freedom: float) -> float:
    """Return the square of Student's over Gauss's quantile: the variance over so many runs is itself an estimate.

    Reference:
        Abramowitz & Stegun, 26.7.5: the quantile in powers of one over the degrees of freedom; within 1 % from four on.
    """
    z = TWO_SIDED_90
    return (1 + (z**2 + 1) / (4 * freedom) + (5 * z**4 + 16 * z**2 + 3) / (96 * freedom**2)) ** 2


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
