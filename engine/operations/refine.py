"""The operation ``refine``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from engine.operations._base import setting
from engine.operations._subjects import MOST_SEQUENCES, Device, OnRankMap, OnText, Seed, Sequences, named_maps
from engine.specs import AutoDtype, Dtype, EvaluationSpec, RefinementSpec, TrainingSpec

if TYPE_CHECKING:
    from cache import Store
    from engine.progress import Report
    from engine.results.outcomes import Refinement
    from engine.settings import Home


class Refine(OnRankMap, OnText):
    """Refine the factors of a rank map against the dense model, and measure before and after."""

    name: ClassVar[str] = "refine"

    train: bool = Field(default=False, description="Also train the factors to predict what the dense model predicts.")
    correct: bool = setting(RefinementSpec, "correct", "First fit the left factors in closed form.")
    train_sequences: int = setting(
        TrainingSpec, "n_sequences", "With --train: sequences of the calibration text, or all there are.", ge=2
    )
    epochs: int = setting(TrainingSpec, "epochs", "With --train: passes over them.", ge=1, le=10_000)
    learning_rate: float = setting(
        TrainingSpec, "learning_rate", "With --train: relative to the entries' size.", gt=0, lt=1
    )
    minutes: float = setting(TrainingSpec, "minutes", "With --train: the most it takes.", gt=0)
    seed: Seed = setting(TrainingSpec, "seed", "With --train: of the order of the text.")
    damping: float = setting(
        RefinementSpec, "damping", "Of the correction: ridge towards the factors as they were.", gt=0, le=1
    )
    batch_size: int = setting(RefinementSpec, "batch_size", "Sequences per pass.", ge=1, le=MOST_SEQUENCES)
    compute_dtype: AutoDtype = Field(
        default="auto", description="Type of the passes; auto: bfloat16, or float32 where the machine is faster in it."
    )
    n_sequences: Sequences = Field(default=20, description="Held-out sequences.")
    dtype: Dtype = setting(EvaluationSpec, "dtype", "Of the measurement.")
    device: Device = "auto"

    def check(self) -> None:
        """Check that the text is a rank map, and that there is such a text."""
        self.parsed_map()
        self.corpus("evaluation")

    def _training(self) -> TrainingSpec | None:
        return self.into(TrainingSpec, n_sequences=self.train_sequences) if self.train else None

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        return f"Refine {named_maps(store, self.analysis, [self.parsed_map()])}"

    def run(self, home: Home, report: Report) -> Refinement:
        """Refine and measure; return the rows of the map before and after."""
        from engine.pipeline.evaluate import EvaluationSession
        from engine.pipeline.reading.results import results
        from engine.pipeline.refine import refine
        from engine.progress import part_of
        from engine.rank_map.identity import map_id
        from engine.results.outcomes import Refinement

        store, rank_map = home.store, self.parsed_map()
        spec = self.into(RefinementSpec, training=self._training())
        key = refine(home, self.analysis, rank_map, spec, part_of(report, 0.0, 0.8), device=self.device)
        text = self.into(EvaluationSpec, corpus=self.corpus("evaluation"))
        session = EvaluationSession(home, self.analysis, text, part_of(report, 0.8, 0.86), device=self.device)
        session.measure(rank_map, part_of(report, 0.86, 0.93))
        session.measure(rank_map, part_of(report, 0.93, 1.0), key)
        rows = {row.id: row for row in results(store, self.analysis)}
        seconds = store.read(key).manifest.about["seconds"]
        assert isinstance(seconds, float)
        return Refinement(
            refinement=key.fingerprint,
            training_free=not self.train,
            seconds=seconds,
            before=rows[map_id(rank_map)],
            after=rows[map_id(rank_map, key.fingerprint)],
        )
