"""Confidence intervals of means by resampling.

References:
    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", the percentile interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import InvalidSpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 1_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its percentile bootstrap interval.

    Attributes:
        mean: of the sample itself.
        low: lower end.
        high: upper end.
        level: probability the interval is made for.
    """

    mean: float
    low: float
    high: float
    level: float


def bootstrap_mean(
    values: NDArray[np.float64], *, level: float = 0.95, n_resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Return the mean of ``values`` (n,) with its interval.

    Raises:
        InvalidSpecError: there are fewer than 2 values, or a setting is out of range.
    """
    if len(values) < 2:
        raise InvalidSpecError(
            f"An interval over {len(values)} values was asked for; expected at least 2, so use more texts."
        )
    if not 0 < level < 1 or n_resamples < 1:
        raise InvalidSpecError(
            f"A level of {level} and {n_resamples} resamples were given; expected a level between 0 and 1 and at "
            "least one resample."
        )
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK // len(values))
    means = np.concatenate(
        [
            values[rng.integers(len(values), size=(min(rows, n_resamples - start), len(values)))].mean(axis=1)
            for start in range(0, n_resamples, rows)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values.mean()), float(low), float(high), level)


def bootstrap_difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    level: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the mean of ``first - second``, paired by text, with its interval.

    Raises:
        InvalidSpecError: the two do not have one value for each of the same texts.
    """
    if first.shape != second.shape:
        raise InvalidSpecError(
            f"A paired difference of {len(first)} and {len(second)} values was asked for; expected one value of each "
            "for every text."
        )
    return bootstrap_mean(first - second, level=level, n_resamples=n_resamples, seed=seed)
