"""The operation ``analyse-shard``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from engine.errors import InvalidSpecError
from engine.operations.analyse import Analyse
from engine.pipeline.runs import RUN_LENGTH, runs_of

if TYPE_CHECKING:
    from cache import Store
    from engine.operations._base import Operation
    from engine.progress import Report
    from engine.settings import Home


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a shard brought.

    Attributes:
        complete: whether the statistics of all shards are stored.
        analysis: its id, where the shard went on to it or it was there.
    """

    complete: bool
    analysis: str | None = None


class AnalyseShard(Analyse):
    """Take a share of an analysis's statistics, and analyse if it was the last to be taken."""

    name: ClassVar[str] = "analyse-shard"

    shard: int = Field(ge=0, description="Which share, from 0.")
    n_shards: int = Field(ge=1, le=1000, description="Shares in all.")

    def whole(self) -> Analyse:
        """Return the analysis that the share is of."""
        return Analyse(**{name: getattr(self, name) for name in Analyse.model_fields})

    def check(self) -> None:
        """Check that all machines would do the same, and that every shard has something to do."""
        super().check()
        n_runs = len(runs_of(self.n_sequences))
        if not self.shard < self.n_shards <= n_runs:
            raise InvalidSpecError(
                f"{self.n_shards} shards were asked for; {self.n_sequences} sequences are {n_runs} "
                f"{'run' if n_runs == 1 else 'runs'} of {RUN_LENGTH}, so ask for at most as many shards."
            )
        if self.compute_dtype == "auto":
            raise InvalidSpecError(
                "Shards may run on different machines, which would choose different types; give --compute-dtype "
                "float32 or bfloat16."
            )
        if self.around_keep is not None:
            raise InvalidSpecError(
                "Statistics around a compressed model come after an analysis, which shards cannot wait for; leave "
                "--around-keep out, or --shards."
            )

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        return f"{super().title(store)}: shard {self.shard + 1} of {self.n_shards}"

    def following(self, store: Store, result: ShardResult) -> Operation | None:  # type: ignore[override]
        """Return the analysis if nothing is missing for it; what follows the analysis, if that is done."""
        if result.analysis is not None:
            return self.whole().following(store, {"analysis": result.analysis})
        return self.whole() if result.complete else None

    def run(self, home: Home, report: Report) -> ShardResult:  # type: ignore[override]
        """Take the share."""
        from engine.pipeline.analyse import collect_shard

        shared = collect_shard(
            home,
            self.spec(),
            self.shard,
            self.n_shards,
            report,
            memory_bytes=int(self.memory_gb * 1e9),
            device=self.device,
            stream=self.stream,
        )
        known = None if shared.analysis is None else shared.analysis.fingerprint
        return ShardResult(shared.complete, known)
