"""Every method at every budget, measured on the same texts: one table."""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cache import write_json
from engine.allocation import SearchKind
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.formats import multiply_adds
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.cost import cost_of
from engine.methods.presets import SEARCHED, get_preset
from engine.pipeline import keys
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import analysis_spec, curves_by_metric, load_analysis
from engine.pipeline.reading.results import results
from engine.pipeline.reading.trials import trials, with_searched_maps
from engine.pipeline.search import search
from engine.pipeline.search_session import with_feature
from engine.progress import part_of
from engine.results.comparison import ComparedMap, Comparison, MissingMap
from engine.results.json_form import to_json
from engine.search.goals import Goal
from engine.search.space import SpaceSpec
from engine.search.specs import ObjectiveSpec, SearchSpec
from engine.types import Budget

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cache import Store
    from engine.analysis.value import Analysis
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.results.rows import PerplexityResult
    from engine.settings import Home
    from engine.specs import EvaluationSpec

TELLING_INCREASES = (0.05, 1.5)
"""Measured increases of the loss, in nats per token, over which the error of predictions is stated."""


@dataclass(frozen=True, slots=True)
class ComparisonSpec:
    """What is compared.

    Attributes:
        kept_fractions: budgets.
        methods: names of presets.
        text: what predictions and the first perplexity are about.
        other_text: out of the domain of the first; ``None`` for none.
        search_trials: maps a searching method measures before it answers; 0: it answers by predictions.
        seed: of the search.
    """

    kept_fractions: tuple[float, ...]
    methods: tuple[str, ...]
    text: EvaluationSpec
    other_text: EvaluationSpec | None
    search_trials: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that there is something to compare."""
        if not self.kept_fractions or not self.methods:
            raise InvalidSpecError("There is nothing to compare; expected at least one kept fraction and one method.")
        for kept in self.kept_fractions:
            if not 0 < kept <= 1:
                raise InvalidSpecError(
                    f"The kept fraction {kept:g} was given; expected numbers above 0 and at most 1, such as 0.8,0.6."
                )
        if self.search_trials < 0:
            raise InvalidSpecError(f"{self.search_trials} trials were asked for; expected 0 or more.")
        for method in self.methods:
            get_preset(method)


@dataclass(frozen=True, slots=True)
class _Entry:
    method: str
    target: float
    rank_map: RankMap
    search: SearchKind | None
    search_s: float


def compare(
    home: Home,
    analysis_id: str,
    spec: ComparisonSpec,
    report: Report,
    *,
    device: str = "auto",
) -> Comparison:
    """Measure every method at every budget, store the table and return it.

    What was measured before is not measured again.

    Raises:
        ResourceError: a method is to be searched, and the model does not fit into memory.
        RankScopeError: the analysis, its model or a text is not there any more, or not the same.
    """
    store = home.store
    analysis = load_analysis(store, analysis_id)
    searched_s = 0.0
    if any(get_preset(method).needs_search for method in spec.methods):
        if SEARCHED.metric not in analysis.nats:
            told = part_of(report, 0.0, 0.1)
            opened = open_analysis(home, analysis, told, dtype=spec.text.dtype, device=device)
            if spec.search_trials:
                opened.require_whole()
            analysis = with_feature(opened, told)
        with contextlib.suppress(InfeasibleBudgetError):  # no size of the search is possible; each budget says why
            searched_s = _search(home, analysis, spec, part_of(report, 0.1, 0.4), device)
    entries, impossible = _allocate(store, analysis, spec, searched_s)
    middle = 0.4 + 0.6 * (0.7 if spec.other_text else 1.0)
    inside = _measure(home, analysis, spec.text, entries, part_of(report, 0.4, middle), device)
    outside: list[PerplexityResult] = []
    if spec.other_text is not None:
        outside = _measure(home, analysis, spec.other_text, entries, part_of(report, middle, 1.0), device)
    measured = {
        result.provenance.artifact: result
        for row in results(store, analysis.id)
        if not row.is_dense
        for result in row.perplexities
    }
    rows = tuple(
        _row(analysis, entry, measured[result.provenance.artifact], outside[index] if outside else None)
        for index, (entry, result) in enumerate(zip(entries, inside, strict=True))
    )
    evaluations = [result.provenance.fingerprint for result in (*inside, *outside)]
    key = keys.comparison_key(analysis.id, evaluations, spec.kept_fractions)
    comparison = Comparison(
        analysis=analysis.id,
        model=analysis.about["model"],
        text=spec.text.corpus.label,
        n_tokens=inside[0].n_tokens if inside else 0,
        other_text=spec.other_text.corpus.label if spec.other_text else None,
        dtype=spec.text.dtype,
        analysis_s=analysis.about["seconds"],
        rows=rows,
        impossible=tuple(impossible),
        prediction_median_relative_error=median_relative_error(
            (row.nll_increase, row.predicted_nll_increase) for row in rows
        ),
        id=key.fingerprint,
        calibration_text=any(result.calibration_text for result in inside),
        other_calibration_text=any(result.calibration_text for result in outside),
    )
    if key not in store:
        with store.writing(key, {"analysis": analysis.id}) as into:
            document = to_json(comparison)
            del document["id"]
            write_json(into / "comparison.json", document)
    return comparison


def median_relative_error(increases: Iterable[tuple[float, float]]) -> float | None:
    """Return the median of |predicted - measured| / measured increase of the loss, where there is one to speak of.

    Args:
        increases: measured and predicted ones, each predicted without its own measurement.
    """
    low, high = TELLING_INCREASES
    errors = [abs(predicted - measured) / measured for measured, predicted in increases if low <= measured <= high]
    return statistics.median(errors) if errors else None


def _search(
    home: Home,
    analysis: Analysis,
    spec: ComparisonSpec,
    report: Report,
    device: str,
) -> float:
    """Make sure that enough maps are measured over all budgets; return the seconds all of them took."""
    if not spec.search_trials:
        return 0.0
    calibration = analysis_spec(analysis).corpus
    pool = replace(calibration, n_sequences=min(24, calibration.n_sequences))
    objective = ObjectiveSpec(pool, n_subset=min(8, pool.n_sequences), dtype=spec.text.dtype)
    goal = Goal(max(min(spec.kept_fractions) - 0.05, 0.0), max(spec.kept_fractions), pareto=True)
    wanted = SearchSpec(objective, goal, SpaceSpec(), spec.search_trials, spec.seed)
    outcome = search(home, analysis.id, wanted, report, device=device)
    measured = [trial for trial in trials(home.store, analysis.id) if trial.subset == outcome.subset]
    return float(sum(trial.seconds["apply"] + trial.seconds["evaluate"] for trial in measured))


def _allocate(
    store: Store, analysis: Analysis, spec: ComparisonSpec, searched_s: float
) -> tuple[list[_Entry], list[MissingMap]]:
    """Return a rank map for every method and budget, and where there is none, why."""
    curves = curves_by_metric(analysis)
    begun = time.perf_counter()
    request = with_searched_maps(Request(), store, analysis)
    predicted_s = time.perf_counter() - begun
    entries, impossible = [], []
    for kept in spec.kept_fractions:
        budget = Budget.of_kept_fraction(kept, analysis.inventory.compressible_params)
        for method in spec.methods:
            begun = time.perf_counter()
            try:
                rank_map = allocate_rank_map(analysis, curves, method, budget, request)
            except InfeasibleBudgetError as error:
                impossible.append(MissingMap(method, kept, str(error)))
                continue
            search = request.search_behind(rank_map)
            searching_s = {SearchKind.MEASURED: searched_s, SearchKind.PREDICTED: predicted_s, None: 0.0}[search]
            entries.append(_Entry(method, kept, rank_map, search, searching_s + time.perf_counter() - begun))
    return entries, impossible


def _measure(
    home: Home,
    analysis: Analysis,
    text: EvaluationSpec,
    entries: Sequence[_Entry],
    report: Report,
    device: str,
) -> list[PerplexityResult]:
    session = EvaluationSession(home, analysis.id, text, part_of(report, 0.0, 0.1), device=device)
    measured = []
    for index, entry in enumerate(entries):
        part = part_of(report, 0.1 + 0.9 * index / len(entries), 0.1 + 0.9 * (index + 1) / len(entries))
        part("comparison", 0.0, f"{entry.method} at {entry.target:g} on {text.corpus.label}")
        measured.append(session.measure(entry.rank_map, part))
    return measured


def _row(analysis: Analysis, entry: _Entry, inside: PerplexityResult, outside: PerplexityResult | None) -> ComparedMap:
    cost, predicted = cost_of(analysis, entry.rank_map), inside.prediction
    assert predicted is not None
    return ComparedMap(
        method=entry.method,
        target_kept_fraction=entry.target,
        kept_fraction=cost.kept_fraction,
        params=cost.params,
        perplexity=inside.perplexity,
        dense_perplexity=inside.dense_perplexity,
        divergence=inside.divergence,
        agreement=inside.agreement,
        predicted_nats=cost.nats,
        predicted_perplexity=predicted.perplexity,
        predicted_perplexity_low=predicted.low,
        predicted_perplexity_high=predicted.high,
        prediction_calibrated_on=predicted.calibrated_on,
        nll_increase=inside.increase,
        predicted_nll_increase=math.log(predicted.perplexity / inside.dense_perplexity),
        model_mb_float16=cost.bytes_at("float16") / 1e6,
        multiply_adds_per_token=multiply_adds(entry.rank_map.blocks, analysis.inventory),
        search_s=round(entry.search_s, 4),
        search=entry.search,
        evaluation=inside.provenance.fingerprint,
        other_perplexity=outside.perplexity if outside else None,
        other_dense_perplexity=outside.dense_perplexity if outside else None,
        other_evaluation=outside.provenance.fingerprint if outside else None,
    )
