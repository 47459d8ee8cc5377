"""Measure rank maps in several ways beside one dense model; every part is stored by itself as soon as it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.errors import InvalidSpecError, UnmeasurableError
from engine.pipeline import keys
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.measure.cost import CostPart, MemoryPart
from engine.pipeline.measure.summaries import summaries_part
from engine.pipeline.opened import OpenedAnalysis, open_analysis, reopen_folder
from engine.pipeline.reading.analyses import load_analysis
from engine.pipeline.reading.results import results
from engine.pipeline.sequences import sequences_fingerprint
from engine.progress import ignore_progress, part_of
from engine.rank_map.document import RankMap, check_rank_map
from engine.rank_map.identity import map_id
from engine.results.rows import DENSE
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.analysis.value import Analysis
    from engine.evaluation.specs import CostSpec, MemorySpec, SummarySpec
    from engine.pipeline.measure.part import Part
    from engine.progress import Report
    from engine.results.rows import ResultRow
    from engine.settings import Home
    from engine.specs import EvaluationSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, all of it in one type.

    Attributes:
        texts: perplexity on each.
        tasks: names of lm-eval's or the demo's tasks.
        limit: items scored of each task; ``None``: all.
        summaries: ``None`` for none.
        cost: multiply-adds and tokens per second; ``None`` for neither.
        memory: peak of a process that only loads and runs the model; ``None`` for none.
        dtype: weights and arithmetic.
        weight_bits: of the maps' projections; below 16 they are rounded, the dense model's beside them as well.
    """

    texts: tuple[EvaluationSpec, ...]
    tasks: tuple[str, ...] = ()
    limit: int | None = None
    summaries: SummarySpec | None = None
    cost: CostSpec | None = None
    memory: MemorySpec | None = None
    dtype: str = "float32"
    weight_bits: int = 16

    def __post_init__(self) -> None:
        """Check that the type is one."""
        others = {text.dtype for text in self.texts} | ({self.summaries.dtype} if self.summaries else set())
        if others - {self.dtype}:
            raise InvalidSpecError(
                f"An evaluation in {self.dtype} has parts in {', '.join(sorted(others - {self.dtype}))}; expected one "
                "type for all of them."
            )


def measure_all(
    home: Home,
    analysis_id: str,
    rank_maps: Sequence[RankMap],
    plan: Plan,
    report: Report,
    *,
    device: str = "auto",
) -> list[ResultRow]:
    """Measure what is not stored yet; return the rows of the dense model and of these maps, in their order.

    The dense model is opened once, and only if something is missing. What was measured before an error or a
    cancellation stays, so that the same call goes on.

    Args:
        home: where everything is stored.
        analysis_id: whose factors are used; the start of its id is enough.
        rank_maps: what is measured beside the dense model.
        plan: in which ways.
        report: told about every part.
        device: where the models run.

    Raises:
        RankScopeError: a map does not fit, a task or a text cannot be had, or numbers are not finite.
    """
    store = home.store
    analysis = load_analysis(store, analysis_id)
    folder = reopen_folder(home, analysis, part_of(report, 0.0, 0.02))
    bits = plan.weight_bits
    asked = rank_maps if bits == 16 else (dense_map(analysis), *rank_maps)
    distinct = {map_id(rank_map, weight_bits=bits): rank_map for rank_map in asked}
    for rank_map in distinct.values():
        check_rank_map(rank_map, analysis.inventory, folder.fingerprint)
        analysis.require_factors(rank_map.metric)
    within = part_of(report, 0.03, 0.1)
    opened = OpenedAnalysis(home, analysis, folder, within, dtype=plan.dtype, device=device, weight_bits=bits)
    parts = _parts(opened, plan, part_of(report, 0.02, 0.03))
    subjects = (None, *distinct.values())
    work = [(subject, part) for subject in subjects for part in parts if not part.is_stored(subject)]
    if work:
        opened.open()
    total, done = sum(part.weight for _, part in work), 0
    for subject, part in work:
        within = part_of(report, 0.1 + 0.9 * done / total, 0.1 + 0.9 * (done + part.weight) / total)
        try:
            part.measure(subject, within)
        except UnmeasurableError as error:
            report("evaluation", None, str(error))
        done += part.weight
    rows = {row.id: row for row in results(store, analysis.id)}
    return [rows[row_id] for row_id in (DENSE, *distinct) if row_id in rows]


def is_measured(home: Home, analysis_id: str, rank_maps: Sequence[RankMap], plan: Plan) -> bool:
    """Return whether nothing of a plan is left to measure; opens no model.

    Raises:
        RankScopeError: the analysis or its model is gone, or a task or a text cannot be had.
    """
    analysis = load_analysis(home.store, analysis_id)
    opened = open_analysis(home, analysis, ignore_progress, dtype=plan.dtype).of(analysis, plan.weight_bits)
    parts = _parts(opened, plan, ignore_progress)
    return all(part.is_stored(subject) for subject in (None, *rank_maps) for part in parts)


def dense_map(analysis: Analysis) -> RankMap:
    """Return the rank map that leaves every projection dense; rounded, it is what rounding alone does."""
    metric = next(metric for metric in reversed(Metric) if metric in analysis.nats)
    about = analysis.about
    return RankMap(about["model"], about["model_fingerprint"], analysis.id, DENSE, metric, None, ())


def _parts(opened: OpenedAnalysis, plan: Plan, report: Report) -> list[Part]:
    parts: list[Part] = [PerplexityPart(opened, text) for text in plan.texts]
    if plan.cost is not None:
        parts.append(CostPart(opened, plan.cost))
    if plan.tasks:
        from engine.pipeline.measure.tasks import task_parts  # brings lm-eval

        parts += task_parts(opened, plan.tasks, plan.limit, part_of(report, 0.0, 0.5))
    if plan.summaries is not None:
        parts.append(summaries_part(opened, plan.summaries, part_of(report, 0.5, 1.0)))
    if plan.memory is not None:
        parts.append(MemoryPart(opened, plan.memory))
    return parts


@dataclass(slots=True)
class PerplexityPart:
    """Perplexity, divergence and agreement on one text; the measurements that comparisons and predictions use."""

    opened: OpenedAnalysis
    text: EvaluationSpec
    _session: EvaluationSession | None = field(default=None, init=False)

    @property
    def weight(self) -> int:
        """The tokens of the text."""
        return self.text.corpus.n_sequences * self.text.corpus.length

    def is_stored(self, rank_map: RankMap | None) -> bool:
        """Return whether the dense model's predictions, or the measurement of the map, are there."""
        opened = self.opened
        reference = keys.reference_key(
            self.text, opened.folder.fingerprint, sequences_fingerprint(opened.folder, self.text.corpus)
        )
        if rank_map is None:
            return reference in opened.store
        key = keys.evaluation_key(rank_map, opened.analysis.id, reference, weight_bits=opened.weight_bits)
        return key in opened.store

    def measure(self, rank_map: RankMap | None, report: Report) -> None:
        """Measure and store."""
        opened = self.opened
        if self._session is None:
            session = report if rank_map is None else part_of(report, 0.0, 0.1)
            self._session = EvaluationSession(opened.home, opened.analysis.id, self.text, session, opened=opened)
        if rank_map is not None:
            self._session.measure(rank_map, report)
