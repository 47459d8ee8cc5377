"""What a search measured and what came of it, named as its JSON in ``docs/cli.md``; free of torch and Optuna."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """A rank map that was measured on a subset of a text.

    Attributes:
        subset: fingerprint of the subset and of the arithmetic.
        seconds: to ``apply`` the map and to ``evaluate`` it.
        id: fingerprint of the stored trial.
        created: ISO 8601, UTC.
    """

    objective: float
    perplexity: float
    dense_perplexity: float
    divergence: float
    divergence_weight: float
    kept_fraction: float
    params: int
    subset: str
    seconds: Mapping[str, float]
    id: str
    created: str


@dataclass(frozen=True, slots=True)
class SearchedMap:
    """One of the best maps of a search.

    Attributes:
        trial: its number in the study.
        id: fingerprint of the stored trial.
        point: variable -> kept fraction.
    """

    trial: int
    id: str
    objective: float
    perplexity: float
    dense_perplexity: float
    divergence: float
    kept_fraction: float
    params: int
    point: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """What a search came to.

    Attributes:
        analysis: the one with the feature metric, which the trials belong to.
        subset: fingerprint of the subset that trials are measured on.
        storage: of the study, without a password.
        space: variable -> number of its projections.
        trials: measured in all.
        seconds: ``apply`` and ``evaluate`` of the trials, ``total`` of this run.
        best: at the largest size; ``None`` where no trial is small enough.
        pareto: best maps of every size, smallest first; ``None`` where one size was searched.
    """

    analysis: str
    study: str
    subset: str
    storage: str
    space: Mapping[str, int]
    trials: int
    seconds: Mapping[str, float]
    best: SearchedMap | None
    pareto: tuple[SearchedMap, ...] | None
