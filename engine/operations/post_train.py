"""The operation ``post-train``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from engine.operations._base import setting
from engine.operations._subjects import MOST_SEQUENCES, Device, OnRankMap, OnText, Seed, Sequences, named_maps
from engine.specs import Dtype, EvaluationSpec, PostTrainingSpec

if TYPE_CHECKING:
    from cache import Store
    from engine.progress import Report
    from engine.results.outcomes import PostTraining
    from engine.settings import Home


class PostTrain(OnRankMap, OnText):
    """Train two vectors per projection on the calibration text; the map keeps its ranks and its size."""

    name: ClassVar[str] = "post-train"

    minutes: float = setting(PostTrainingSpec, "minutes", "No step begins after this long.", gt=0)
    max_steps: int = setting(PostTrainingSpec, "max_steps", "Steps at most.", ge=1)
    learning_rate: float = setting(PostTrainingSpec, "learning_rate", "Of Adam.", gt=0)
    train_batch_size: int = setting(
        PostTrainingSpec, "batch_size", "Calibration sequences per step.", ge=1, le=MOST_SEQUENCES
    )
    seed: Seed = setting(PostTrainingSpec, "seed", "Of the order of the sequences.")
    n_sequences: Sequences = Field(default=20, description="Held-out sequences.")
    dtype: Dtype = setting(EvaluationSpec, "dtype", "Of the measurement.")
    batch_size: int = setting(EvaluationSpec, "batch_size", "Held-out sequences per pass.", ge=1, le=MOST_SEQUENCES)
    device: Device = "auto"

    def check(self) -> None:
        """Check that the text is a rank map, and that there is such a text."""
        self.parsed_map()
        self.corpus("evaluation")

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        return f"Post-train {named_maps(store, self.analysis, [self.parsed_map()])}"

    def run(self, home: Home, report: Report) -> PostTraining:
        """Train; return what was measured before and after."""
        from engine.pipeline.post_train import post_train

        return post_train(
            home,
            self.analysis,
            self.parsed_map(),
            self.into(PostTrainingSpec, batch_size=self.train_batch_size),
            self.into(EvaluationSpec, corpus=self.corpus("evaluation")),
            report,
            device=self.device,
        )
