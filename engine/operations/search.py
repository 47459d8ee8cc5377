"""The operations ``search`` and ``search-worker``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from engine.operations._base import setting
from engine.operations._subjects import (
    MOST_SEQUENCES,
    Analysed,
    Device,
    KeptFraction,
    OnText,
    Seed,
    Sequences,
    analysed_model,
)
from engine.search.goals import WINDOW, Goal
from engine.search.space import Layout, SpaceSpec
from engine.search.specs import ObjectiveSpec, SearchSpec, Subset
from engine.specs import Dtype

if TYPE_CHECKING:
    from cache import Store
    from engine.progress import Report
    from engine.search.outcome import SearchOutcome
    from engine.settings import Home


class Search(OnText):
    """Search rank maps by measuring them, with Bayesian optimisation over kept fractions per kind."""

    name: ClassVar[str] = "search"

    analysis: Analysed
    target: KeptFraction = Field(default=0.8, description=f"Kept fraction; points from {WINDOW:g} below it are tried.")
    pareto: bool = Field(default=False, description="Search all sizes from --low to --high at once.")
    low: float = Field(default=0.5, ge=0, lt=1, description="With --pareto: smallest kept fraction.")
    high: KeptFraction = Field(default=0.95, description="With --pareto: largest kept fraction.")
    space: Layout = setting(SpaceSpec, "layout", "5x1: a variable per kind; 5x4: per kind and quarter of depth.")
    rank_step: int = setting(SpaceSpec, "rank_step", "Ranks are multiples of this.", ge=1)
    tied: tuple[str, ...] = setting(SpaceSpec, "tied", "Kinds that share one variable.")
    dense: tuple[str, ...] = setting(SpaceSpec, "dense", "Kinds that stay dense beside the tied ones.")
    trials: int = setting(SearchSpec, "n_trials", "Measured trials in all; more than before continues.", ge=1)
    divergence_weight: float = setting(
        ObjectiveSpec,
        "divergence_weight",
        "Weight of the divergence from the dense model beside the perplexity.",
        ge=0,
    )
    n_sequences: Sequences = Field(default=24, description="Sequences the subset is chosen from.")
    subset: Subset = setting(ObjectiveSpec, "subset", "Which of the sequences a trial is measured on.")
    n_subset: int = setting(ObjectiveSpec, "n_subset", "Sequences each trial is measured on.", ge=1)
    n_allocations: int = setting(
        ObjectiveSpec, "n_allocations", "Random maps that show which sequences are sensitive.", ge=2, le=1000
    )
    dtype: Dtype = setting(ObjectiveSpec, "dtype", "Weights and arithmetic.")
    batch_size: int = setting(ObjectiveSpec, "batch_size", "Sequences per pass.", ge=1, le=MOST_SEQUENCES)
    seed: Seed = setting(SearchSpec, "seed", "Of starting points and proposals.")
    storage: str | None = setting(
        SearchSpec, "storage", "Database URL of the trials; default: a journal file in the home."
    )
    device: Device = "auto"
    workers: int = Field(
        default=1, ge=1, le=1000, description="Jobs that share the trials and measure at once; best with --engine."
    )

    def spec(self) -> SearchSpec:
        """Return what is searched.

        Raises:
            InvalidSpecError: there is no such text, or arguments do not fit each other.
        """
        pool = self.corpus("calibration")
        return self.into(
            SearchSpec,
            objective=self.into(ObjectiveSpec, pool=pool, n_subset=min(self.n_subset, self.n_sequences)),
            goal=Goal(self.low, self.high, pareto=True) if self.pareto else Goal.at(self.target),
            space=self.into(SpaceSpec, layout=self.space),
            n_trials=self.trials,
        )

    def check(self) -> None:
        """Check that there is such a text, and that arguments fit each other."""
        self.spec()

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        sizes = f"sizes {self.low:g} to {self.high:g}" if self.pareto else f"at most {self.target:g} kept"
        return f"Search maps of {analysed_model(store, self.analysis)}: {sizes}, {self.trials} trials"

    def helpers(self) -> tuple[SearchWorker, ...]:
        """Return the other workers."""
        shared = self.changed(workers=1).arguments()
        return tuple(SearchWorker.model_validate({**shared, "worker": worker}) for worker in range(1, self.workers))

    def run(self, home: Home, report: Report) -> SearchOutcome:
        """Search; return the best maps."""
        return self._as_worker(0, home, report)

    def _as_worker(self, worker: int, home: Home, report: Report) -> SearchOutcome:
        from engine.pipeline.search import search

        return search(home, self.analysis, self.spec(), report, device=self.device, worker=worker)


class SearchWorker(Search):
    """Measure trials of a search beside the job that leads it, until all are measured."""

    name: ClassVar[str] = "search-worker"

    worker: int = Field(ge=1, description="Which worker; the job that leads the search is 0.")

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        return f"{super().title(store)}: worker {self.worker + 1}"

    def helpers(self) -> tuple[SearchWorker, ...]:
        """Return nobody."""
        return ()

    def run(self, home: Home, report: Report) -> SearchOutcome:
        """Search; return the best maps."""
        return self._as_worker(self.worker, home, report)
