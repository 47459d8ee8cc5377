"""What a search measures its points by; free of torch and Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from engine.errors import InvalidSpecError
from engine.specs import DTYPES

if TYPE_CHECKING:
    from engine.search.goals import Goal
    from engine.search.space import SpaceSpec
    from engine.specs import CorpusSpec


class Subset(StrEnum):
    """Which sequences of the pool every point is measured on."""

    SENSITIVE = "sensitive"
    RANDOM = "random"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class ObjectiveSpec:
    """Everything that decides what a point's objective is, so that equal ones compare.

    Attributes:
        pool: the text the subset is chosen from.
        subset: how it is chosen.
        n_subset: sequences in it; at most those of the pool.
        n_allocations: random points over which ``sensitive`` sequences are found.
        divergence_weight: lambda, times KL(dense || compressed) in nats per token, added to the perplexity.
        dtype: weights and arithmetic of the measured models.
        batch_size: sequences per forward pass.
        seed: of the random points and of a random subset.
    """

    pool: CorpusSpec
    subset: Subset = Subset.SENSITIVE
    n_subset: int = 8
    n_allocations: int = 6
    divergence_weight: float = 1.0
    dtype: str = "float32"
    batch_size: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.n_subset <= self.pool.n_sequences:
            raise InvalidSpecError(
                f"A subset of {self.n_subset} of {self.pool.n_sequences} sequences was asked for; expected at least 1 "
                "and at most all of them."
            )
        if self.n_allocations < 2:
            raise InvalidSpecError(f"{self.n_allocations} random allocations were asked for; expected at least 2.")
        if not self.divergence_weight >= 0:
            raise InvalidSpecError(f"The weight {self.divergence_weight} was given; expected 0 or more.")
        if self.dtype not in DTYPES:
            raise InvalidSpecError(f"Dtype {self.dtype!r} was given; expected one of {', '.join(DTYPES)}.")
        if self.batch_size < 1:
            raise InvalidSpecError(f"Batch size {self.batch_size} was given; expected at least 1.")


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """What a search does.

    Attributes:
        objective: what points are measured by.
        goal: which points count.
        space: the variables.
        n_trials: measured trials in all.
        seed: of starting points and proposals.
        storage: database URL or journal file; ``None`` takes a journal file in the studies folder.
    """

    objective: ObjectiveSpec
    goal: Goal
    space: SpaceSpec
    n_trials: int = 50
    seed: int = 0
    storage: str | None = None
