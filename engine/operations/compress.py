"""The operation ``compress``: from an analysis and a size to an exported model, measured beside the original."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import Field

from cache import Key, fingerprint
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.export.narrowed import narrowed_on_the_way
from engine.export.new_folder import require_new
from engine.export.onnx.needed import require_onnx
from engine.export.record import finished_export, read_record
from engine.export.specs import ExportDtype, ExportFormat, ExportSpec
from engine.operations._base import setting
from engine.operations._subjects import Analysed, Device, OnTexts, OtherText, Sequences, analysed_model
from engine.operations.export import Export
from engine.progress import part_of
from engine.results.words import megabytes, percent
from engine.specs import EvaluationSpec, ModelSpec, RefinementSpec, TrainingSpec
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cache import Store
    from engine.analysis.value import Analysis
    from engine.export.outcome import ComparedPerplexity, Compressed
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.settings import Home

_METHOD: Final = "water-filling"
_NARROWED_TO: Final = 0.8
"""Where the first of two steps ends."""
TWO_STEPS_BELOW: Final = 0.65
"""Kept fractions at which two steps give the better model (docs/benchmarks.md, "In two steps")."""


class Compress(OnTexts):
    """Compress a model to a size as well as can be, measure it beside the original, and export it."""

    name: ClassVar[str] = "compress"

    analysis: Analysed
    folder: str = Field(description="Where the model goes; new or empty.")
    keep: float | None = Field(
        default=None, gt=0, lt=1, description="Size: kept fraction of the compressible parameters."
    )
    mb: float | None = Field(default=None, gt=0, description="Size: 10^6 bytes of the whole model in 16 bits.")
    narrow_to: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="First narrow MLPs alone to this kept fraction, and take the statistics again before ranks are "
        f"chosen; 1: one step; default: {_NARROWED_TO} for sizes below {TWO_STEPS_BELOW}.",
    )
    correct: bool = Field(
        default=True,
        description="Fit the left factors in closed form to the layers before them, if that helps on text not read "
        "before.",
    )
    train_minutes: float = Field(
        default=0.0,
        ge=0,
        description="Then train the factors to predict what the original predicts, at most this long.",
    )
    format: ExportFormat = setting(ExportSpec, "format", Export.settings()["format"].help)
    dtype: ExportDtype = setting(ExportSpec, "dtype", Export.settings()["dtype"].help)
    n_sequences: Sequences = Field(default=20, description="Held-out sequences.")
    other_text: OtherText = ""
    device: Device = "auto"

    def _texts(self) -> tuple[EvaluationSpec, ...]:
        return tuple(EvaluationSpec(corpus) for corpus in self.corpora())

    def check(self) -> None:
        """Check that there is one size, and such texts, and that the folder is new or this operation's own."""
        if (self.keep is None) == (self.mb is None):
            raise InvalidSpecError(
                f"{'Neither' if self.keep is None else 'Both'} of keep and mb set the size of the model; give one."
            )
        if self.keep is not None:
            self._require_on_the_way_to(self.keep)
        self._texts()
        spec, record = self.into(ExportSpec), read_record(Path(self.folder))
        if self.format is ExportFormat.ONNX:
            require_onnx()
        if record is None or replace(record.asked, refinement=None) != spec:
            require_new(Path(self.folder))

    def _require_on_the_way_to(self, kept: float) -> None:
        if self.narrow_to is not None and self.narrow_to < kept:
            raise InvalidSpecError(
                f"The model was to be narrowed to {percent(self.narrow_to)} on its way to {percent(kept)}; give a "
                "narrow_to above the size, or 1 for one step."
            )

    def _require_own_folder(self, store: Store, analysis: Analysis, rank_map: RankMap) -> None:
        """Refuse a folder that holds another export, or one trained otherwise, before what takes long, not after it."""
        from engine.pipeline.refined import minutes_of_training

        folder = Path(self.folder)
        record = read_record(folder)
        if record is not None and finished_export(folder, analysis.id, rank_map.to_json(), record.asked):
            refined = record.asked.refinement
            minutes = 0.0 if refined is None else minutes_of_training(store, Key("refinement", refined))
            if minutes is None or minutes == self.train_minutes:
                return
        require_new(folder)

    def _require_trainable(self, original: Analysis, rank_map: RankMap, narrowed: RankMap | None) -> None:
        """Refuse training that nothing would be left for, or no memory, before what takes long, not after it."""
        from engine.methods.cost import cost_of
        from engine.pipeline.trainable import require_trainable

        between = None if narrowed is None else cost_of(original, narrowed)
        wanted = self.keep or cost_of(original, rank_map).kept_fraction
        if between is not None and between.kept_fraction <= wanted:
            raise InvalidSpecError(
                f"Narrowing alone makes the model {percent(between.kept_fraction)}, so there is nothing left to train; "
                "give a narrow_to further above the size, or 1 for one step."
            )
        if read_record(Path(self.folder)) is None:  # else all may be done
            beside = 0 if between is None else between.model_params
            require_trainable(rank_map, original, self.device, beside_params=beside)

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        size = percent(self.keep) if self.keep is not None else megabytes(1e6 * (self.mb or 0.0))
        trained = " and train it" if self.train_minutes else ""
        return f"Compress {analysed_model(store, self.analysis)} to {size}{trained}"

    def run(self, home: Home, report: Report) -> Compressed:
        """Compress, measure and export; what was finished before is not done again."""
        from engine.export.outcome import Compressed
        from engine.methods.cost import cost_of
        from engine.pipeline.evaluate import EvaluationSession
        from engine.pipeline.reading.analyses import load_analysis
        from engine.pipeline.refine import refine
        from engine.pipeline.refined import training_gained

        began = time.monotonic()
        original = load_analysis(home.store, self.analysis)
        rank_map = self._allocated(original, original)
        narrowed, last, steps = self._narrowed_map(original, rank_map), original, []
        if self.train_minutes:
            self._require_trainable(original, rank_map, narrowed)
        for text in self._texts():  # the original reads them, and one that is too short is known at once
            EvaluationSession(home, original.id, text, part_of(report, 0.0, 0.05), device=self.device)
        if narrowed is not None:
            corrected = self._corrected(home, original, narrowed, part_of(report, 0.05, 0.15))
            steps.append((original, narrowed, corrected))
            last = self._analysed_again(home, original, narrowed, corrected, part_of(report, 0.15, 0.6))
            rank_map = self._allocated(last, original)
        self._require_own_folder(home.store, last, rank_map)
        refinement, trained = self._corrected(home, last, rank_map, part_of(report, 0.6, 0.7)), None
        if self.train_minutes:
            training = TrainingSpec(minutes=self.train_minutes)
            spec = RefinementSpec(training, correct=refinement is not None, compute_dtype="auto")
            told, taught_by = part_of(report, 0.7, 0.85), None if narrowed is None else original
            refinement = refine(home, last.id, rank_map, spec, told, device=self.device, teacher=taught_by)
            trained = training_gained(home.store, refinement)
        found = self._measured(home, [*steps, (last, rank_map, refinement)], part_of(report, 0.85, 0.95))
        export = Export(
            analysis=last.id,
            rank_map=rank_map.to_json(),
            folder=self.folder,
            format=self.format,
            dtype=self.dtype,
            refinement=None if refinement is None else refinement.fingerprint,
        )
        exported = export.run(home, part_of(report, 0.95, 1.0))
        dense = original.inventory
        untouched = dense.total_params - dense.compressible_params
        return Compressed(
            model=original.about["model"],
            analyses=tuple(dict.fromkeys((original.id, last.id))),
            kept_fraction=(cost_of(last, rank_map).model_params - untouched) / dense.compressible_params,
            perplexities=found,
            exported=exported,
            seconds=round(time.monotonic() - began, 1),
            trained=trained,
        )

    def _allocated(self, analysis: Analysis, original: Analysis) -> RankMap:
        """Return the map that brings an analysed model to the size, which is a fraction of the original."""
        from engine.methods.allocate import Target, allocate_to_target, rule_of
        from engine.pipeline.reading.analyses import curves_by_metric
        from engine.prediction.runs import predictor_on

        share = original.inventory.compressible_params / analysis.inventory.compressible_params
        # Widths come in steps, so that a narrowed model may be smaller than was asked for.
        target = Target(keep=None if self.keep is None else min(self.keep * share, 1.0), mb=self.mb)
        rule = rule_of(_METHOD, curves_by_metric(analysis))
        return allocate_to_target(analysis, _METHOD, rule, target, predictor_on(None))

    def _narrowed_map(self, original: Analysis, rank_map: RankMap) -> RankMap | None:
        """Return the map of the first of two steps; ``None``: the size is reached in one."""
        from engine.methods.allocate import Request, allocate_rank_map
        from engine.methods.cost import cost_of
        from engine.pipeline.reading.analyses import curves_by_metric
        from engine.types import Budget

        kept, wanted = cost_of(original, rank_map).kept_fraction, self.narrow_to
        self._require_on_the_way_to(kept)
        if wanted is None:
            can = kept < TWO_STEPS_BELOW and bool(original.inventory.mlps)
            wanted = _NARROWED_TO if can else 1.0
        if wanted == 1:
            return None
        budget = Budget.of_kept_fraction(wanted, original.inventory.compressible_params)
        widths = Request(formats=frozenset({Format.WIDTH}))
        try:
            return allocate_rank_map(original, curves_by_metric(original), _METHOD, budget, widths)
        except InfeasibleBudgetError:  # most parameters are elsewhere, as in experts
            if self.narrow_to is not None:
                raise
            return None

    def _corrected(self, home: Home, analysis: Analysis, rank_map: RankMap, report: Report) -> Key | None:
        """Return the correction of a map's factors, or ``None`` where it does not serve text that nothing has read."""
        from engine.pipeline.refine import refine, serves_unread_text

        if not self.correct:
            return None
        spec = RefinementSpec(compute_dtype="auto")
        key = refine(home, analysis.id, rank_map, spec, part_of(report, 0.0, 0.8), device=self.device)
        told = part_of(report, 0.8, 1.0)
        return key if serves_unread_text(home, analysis.id, rank_map, key, told, device=self.device) else None

    def _analysed_again(
        self, home: Home, original: Analysis, narrowed: RankMap, corrected: Key | None, report: Report
    ) -> Analysis:
        """Return the analysis of the narrowed model, which lies among the exports, with the settings of the first."""
        from engine.pipeline.analyse import analyse
        from engine.pipeline.reading.analyses import analysis_spec, is_analysis_of, load_analysis

        # Named by all that its own export is found done by: analyses and budgets may share a map.
        refinement = None if corrected is None else corrected.fingerprint
        name = fingerprint("narrowed", narrowed.to_json(), [refinement] if refinement else [], schema_version=1)
        folder = str(home.exports / narrowed_on_the_way(name))
        record = read_record(Path(self.folder))
        if record is not None and not is_analysis_of(home.store, record.exported.analysis, Path(folder).name):
            require_new(Path(self.folder))  # it was made of another model
        export = Export(analysis=original.id, rank_map=narrowed.to_json(), folder=folder, refinement=refinement)
        export.run(home, part_of(report, 0.0, 0.1))
        spec = replace(analysis_spec(original), model=ModelSpec.parse(folder, trust_remote_code=True))
        key = analyse(home, spec, part_of(report, 0.1, 1.0), device=self.device)
        return load_analysis(home.store, key.fingerprint)

    def _measured(
        self, home: Home, steps: Sequence[tuple[Analysis, RankMap, Key | None]], report: Report
    ) -> tuple[ComparedPerplexity, ...]:
        """Measure what every step came to; the first is one of the original model, the last the result."""
        from engine.export.outcome import ComparedPerplexity
        from engine.pipeline.evaluate import EvaluationSession

        rows, texts = [], self._texts()
        for index, text in enumerate(texts):
            told = part_of(report, index / len(texts), (index + 1) / len(texts))
            found = []
            for analysis, rank_map, refinement in steps:
                session = EvaluationSession(home, analysis.id, text, told, device=self.device)
                found.append(session.measure(rank_map, told, refinement))
            first, last = found[0], found[-1]
            rows.append(
                ComparedPerplexity(
                    text=last.text_title,
                    n_tokens=last.n_tokens,
                    dense_perplexity=first.dense_perplexity,
                    narrowed_perplexity=first.perplexity if len(found) > 1 else None,
                    perplexity=last.perplexity,
                )
            )
        return tuple(rows)
