"""The operation ``analyse``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from engine.operations._base import setting
from engine.operations._first_measurements import first_measurements
from engine.operations._subjects import MOST_SEQUENCES, Device, OnText, Seed, Sequences, Source
from engine.results.json_form import from_json
from engine.specs import AnalysisSpec, AutoDtype, CalibrationSpec, CorpusSpec, Fisher, ModelSpec
from engine.types import Metric

if TYPE_CHECKING:
    from cache import Store
    from engine.operations.evaluate import Evaluate
    from engine.pipeline.plan import AnalysisPlan
    from engine.progress import Report
    from engine.settings import Home


EFFORTS: Final[Mapping[str, Mapping[str, object]]] = {
    "fast": {"n_sequences": 16},
    "good": {},
    "best": {"n_sequences": 256},
}
"""Effort -> the defaults it changes: a first look; enough text for good maps; the best maps that need no training."""


class Analyse(OnText):
    """Analyse a model: spectra, sensitivities and factors of every projection."""

    name: ClassVar[str] = "analyse"
    preset_by: ClassVar[str] = "effort"
    preset_values: ClassVar[Mapping[str, Mapping[str, object]]] = EFFORTS

    model: Source = Field(
        default="demo", description="demo, a folder, a .gguf file, or a hub id with optional @revision."
    )
    effort: Literal["fast", "good", "best"] = Field(
        default="good",
        description="How much is spent on better maps: fast reads a quarter of the text that good reads, best four "
        "times as much.",
    )
    trust_remote_code: bool = setting(ModelSpec, "trust_remote_code", "Run Python code that comes with the model.")
    n_sequences: Sequences = setting(CorpusSpec, "n_sequences", "Calibration sequences.")
    fisher: Fisher = setting(
        CalibrationSpec, "fisher", "Gradients at true tokens (empirical), drawn ones (sampled) or random signs (ggn)."
    )
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = setting(
        AnalysisSpec, "metrics", "Metrics whose factors are stored."
    )
    damping: float = setting(AnalysisSpec, "damping", "Relative damping of Cholesky factorisations.", gt=0, le=0.1)
    gradient_shrinkage: float = setting(
        AnalysisSpec,
        "gradient_shrinkage",
        "Shrinkage of the gradients' second moments towards the identity.",
        ge=0,
        lt=1,
    )
    around_keep: float | None = setting(
        AnalysisSpec,
        "around_kept_fraction",
        "Take the statistics again on the model compressed to this kept fraction; about twice the time.",
        gt=0,
        lt=1,
    )
    feature_groups: int | None = setting(
        AnalysisSpec,
        "feature_groups",
        "Groups of sequences the feature metric is centred in; default: every sequence.",
        ge=1,
    )
    batch_size: int = setting(CalibrationSpec, "batch_size", "Sequences per pass.", ge=1, le=MOST_SEQUENCES)
    compute_dtype: AutoDtype = Field(
        default="auto", description="Type of the passes; auto: bfloat16, or float32 where the machine is faster in it."
    )
    seed: Seed = setting(CalibrationSpec, "seed", "Of drawn tokens and signs.")
    memory_gb: float = Field(
        default=4.0, gt=0, le=1e6, description="Statistics held at once, GB; less means more passes."
    )
    device: Device = "auto"
    stream: bool = Field(
        default=False, description="Work layer by layer, as is done where the model does not fit into memory."
    )
    measure: bool = Field(default=False, description="Then measure a few maps as a job, which calibrates predictions.")

    def spec(self) -> AnalysisSpec:
        """Return what decides the outcome.

        Raises:
            InvalidSpecError: there is no such model or text, or arguments do not fit each other.
        """
        return self.into(
            AnalysisSpec,
            model=ModelSpec.parse(self.model, trust_remote_code=self.trust_remote_code),
            corpus=self.corpus("calibration"),
            calibration=self.into(CalibrationSpec),
            metrics=tuple(metric for metric in Metric if metric in self.metrics),
            around_kept_fraction=self.around_keep,
        )

    def plan(self) -> AnalysisPlan | None:
        """Return what the analysis will take; ``None`` where the model's files are not on this machine yet.

        Raises:
            RankScopeError: the files are not those of a model, or arguments do not fit each other.
        """
        from engine.model.headers import read_header
        from engine.pipeline.plan import plan_analysis

        spec = self.spec()
        if not spec.model.is_path:
            return None
        header = read_header(Path(spec.model.location))
        return plan_analysis(header, spec, int(self.memory_gb * 1e9), stream=self.stream, n_workers=os.cpu_count() or 1)

    def memory_bytes(self) -> int | None:
        """Return the plan's peak of memory."""
        plan = self.plan()
        return None if plan is None else plan.memory_bytes

    def check(self) -> None:
        """Check that there is such a model and text, and that arguments fit each other."""
        self.spec()

    def title(self, store: Store) -> str:  # noqa: ARG002
        """Return what a person calls the job."""
        spec = self.spec()
        return f"Analyse {spec.model.label} on {spec.corpus.label}"

    def stored(self, home: Home) -> str | None:
        """Return the id of this analysis if it is stored and can be named without fetching or opening anything.

        Analyses of releases that added no beginning to any sequence do not say so and are not named here; nor are
        those of a model that has been moved, so that a run notes where it lies now.
        """
        from engine.model.places import places_of
        from engine.model.sources import corpus_fingerprint, known_model_fingerprint
        from engine.pipeline.keys import analysis_key

        spec = self.spec()
        model = known_model_fingerprint(spec.model)
        if model is None:
            return None
        either = (True, False)
        corpora = {begun: corpus_fingerprint(spec.corpus, begun=begun) for begun in either}
        for typed, begun, half, experts in product(spec.candidates(), either, either, either):
            key = analysis_key(typed, model, corpora[begun], begun=begun, half=half, experts=experts)
            if key not in home.store:
                continue
            artifact = home.store.read(key)
            about: Mapping[str, Any] = artifact.manifest.about
            analysed = from_json(ModelSpec, about["spec"]["model"])
            is_there = places_of(home, analysed, model)[0].location == spec.model.location
            if is_there and "text_start" in artifact.json("analysis.json"):
                return key.fingerprint
        return None

    def following(self, store: Store, result: dict[str, str]) -> Evaluate | None:
        """Return the measurement of a few maps, if it is wanted."""
        return first_measurements(self, store, result["analysis"]) if self.measure else None

    def run(self, home: Home, report: Report) -> dict[str, str]:
        """Analyse; return the id of the analysis."""
        from engine.pipeline.analyse import analyse

        key = analyse(
            home,
            self.spec(),
            report,
            memory_bytes=int(self.memory_gb * 1e9),
            device=self.device,
            stream=self.stream,
        )
        return {"analysis": key.fingerprint}
