"""Everything views may ask for; with ``saved_maps`` and ``measured`` the only use of Streamlit's caches.

Arguments are ids, names and numbers. What is cached is decided by an analysis's id, which is the
fingerprint of its content, and by the trials there are where a method is searched, so nothing cached
can be out of date.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import estimates, prompts
from app.plans import Aim, Impossible, Locks, Plan, locked_blocks
from cache import DirectoryStore, fingerprint
from engine import operations
from engine.allocation import build_frontier
from engine.board import board_step, encode_curves, evaluated_json
from engine.curves import SpectrumSummary, predicted_increase, summarise_spectrum
from engine.demo import DEMO_LICENCES, MODEL_WHEEL, TEXTS_WHEEL, Licence
from engine.errors import CorpusError, RankScopeError
from engine.export.specs import check_export_name
from engine.jobs import Job, JobQueue
from engine.pipeline import reading
from engine.pipeline.new_folder import require_new
from engine.pipeline.targeting import Target, allocate_to_target
from engine.playground import Playground
from engine.prediction import MeasuredRun, Predictor
from engine.presets import PRESETS, AllocationSettings, get_preset, preset_curves
from engine.settings import settings
from engine.types import Budget, GroupCurves, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from app.estimates import Estimate
    from app.prompts import Prompt
    from engine.allocation import EvaluatedMap, Frontier
    from engine.analysis import Analysis
    from engine.pipeline.reading import AnalysisHeading

KEPT_STEPS = tuple(k / 20 for k in range(6, 21))
"""Kept fractions at which every method's predicted curve is drawn."""

CurvePoint = tuple[float, float, float, float]
"""Kept fraction, predicted perplexity over dense, and the ends of its interval."""

Calibration = tuple[tuple[str, float, float], ...]
"""Of every measured map its metric, predicted nats and measured increase."""

UPLOAD_BYTES = 5_000_000


def analysis_headings() -> list[AnalysisHeading]:
    """Return every analysis, newest first."""
    return reading.analysis_headings(_store())


@st.cache_resource(max_entries=4, show_spinner="Reading the analysis")
def analysis(analysis_id: str) -> Analysis:
    """Return an analysis; shared by all sessions and never changed."""
    return reading.load_analysis(_store(), analysis_id)


@st.cache_resource(max_entries=4, show_spinner=False)
def _curves(analysis_id: str) -> dict[Metric, list[GroupCurves]]:
    return reading.curves_by_metric(analysis(analysis_id))


@st.cache_data(max_entries=16, show_spinner=False)
def spectrum_summaries(analysis_id: str, metric: Metric) -> dict[str, SpectrumSummary]:
    """Return the summary of every block's spectrum, by block name."""
    return {name: summarise_spectrum(values) for name, values in analysis(analysis_id).energies[metric].items()}


@st.cache_data(max_entries=64, show_spinner=False)
def predicted_increases(analysis_id: str, kept_fraction: float) -> dict[str, float]:
    """Return the predicted nats per token when each projection alone is cut to ``kept_fraction``."""
    found = analysis(analysis_id)
    return {p.name: predicted_increase(found, p, kept_fraction) for p in found.inventory.projections}


def plan(analysis_id: str, method: str, budget_params: int, locks: Locks = ()) -> Plan:
    """Return a method's rank map at a budget.

    Raises:
        RankScopeError: it has none.
    """
    return _plan(analysis_id, method, budget_params, locks, _trials_there() if get_preset(method).is_searched else "")


@st.cache_data(max_entries=512, show_spinner=False)
def _plan(analysis_id: str, method: str, budget_params: int, locks: Locks, trials: str) -> Plan:
    found = analysis(analysis_id)
    budget = Budget(budget_params, found.inventory.compressible_params)
    frontier = _frontier(analysis_id, method, locks)
    if frontier is not None:
        rank_map = reading.rank_map_of(found, frontier.allocate(budget), method, budget)
    else:
        rank_map = reading.allocate_rank_map(
            found,
            _curves(analysis_id),
            method,
            budget,
            locked_blocks(locks, method, found),
            settings=_board_settings(analysis_id, method),
            evaluated=_evaluated_maps(analysis_id, trials) if trials else (),
        )
    return Plan(method, rank_map, reading.cost_of(found, rank_map))


@st.cache_resource(max_entries=16, show_spinner=False)
def _frontier(analysis_id: str, method: str, locks: Locks) -> Frontier | None:
    """Return what answers every budget, for methods that have such a thing; with locks it is made from that without."""
    preset = get_preset(method)
    if preset.allocator != "water-filling":
        return None
    return build_frontier(
        preset_curves(preset, _curves(analysis_id)),
        formats=preset.formats,
        locks=locked_blocks(locks, method, analysis(analysis_id)),
        rank_step=_board_step(analysis_id),
        unlocked=_frontier(analysis_id, method, ()) if locks else None,
    )


def plan_to_ratio(analysis_id: str, method: str, ratio: float, runs: Sequence[Mapping[str, Any]], locks: Locks) -> Plan:
    """Return the smallest rank map a method has whose predicted perplexity over dense is at most ``ratio``.

    Args:
        analysis_id: of the analysis.
        method: name of a preset.
        ratio: at least 1.
        runs: measurements on one text, which predictions are calibrated on.
        locks: ranks held by hand.

    Raises:
        RankScopeError: it has none.
    """
    trials = _trials_there() if get_preset(method).is_searched else ""
    return _plan_to_ratio(analysis_id, method, ratio, _calibration(runs), locks, trials)


@st.cache_data(max_entries=512, show_spinner=False)
def _plan_to_ratio(
    analysis_id: str, method: str, ratio: float, calibration: Calibration, locks: Locks, trials: str
) -> Plan:
    found = analysis(analysis_id)
    rank_map = allocate_to_target(
        found,
        _curves(analysis_id),
        method,
        Target(perplexity_ratio=ratio),
        _fit(calibration),
        locked_blocks(locks, method, found),
        settings=_board_settings(analysis_id, method),
        evaluated=_evaluated_maps(analysis_id, trials) if trials else (),
        frontier=_frontier(analysis_id, method, locks),
    )
    return Plan(method, rank_map, reading.cost_of(found, rank_map))


def _board_settings(analysis_id: str, method: str) -> AllocationSettings:
    """Return the steps of ranks on the board: every one where the curves are small enough to be sent whole."""
    if get_preset(method).is_searched:
        return AllocationSettings()
    return AllocationSettings(rank_step=_board_step(analysis_id))


@st.cache_resource(max_entries=4, show_spinner=False)
def _evaluated_maps(analysis_id: str, trials: str) -> tuple[EvaluatedMap, ...]:  # noqa: ARG001 - part of the cache's key
    return tuple(reading.evaluated_maps(_store(), analysis_id))


def _trials_there() -> str:
    """Name the trials that are stored: they grow while a search runs, unlike all else that is cached."""
    return fingerprint("trials", [key.fingerprint for key in _store().keys("trial")], [], schema_version=1)


@st.cache_data(max_entries=16, show_spinner=False)
def _board_step(analysis_id: str) -> int:
    return board_step(next(iter(_curves(analysis_id).values())))


@st.cache_resource(max_entries=4, show_spinner="Packing the curves for the rank board")
def board_curves(analysis_id: str) -> tuple[str, bytes]:
    """Return an analysis's curves as the rank board reads them, and the name they go by there."""
    step = _board_step(analysis_id)
    name = f"{analysis_id}.{step}"
    return name, encode_curves(_curves(analysis_id), step, name)


def board_trials(analysis_id: str) -> list[dict[str, Any]]:
    """Return the maps that searches have measured, as the rank board reads them."""
    return _board_trials(analysis_id, _trials_there())


@st.cache_data(max_entries=4, show_spinner=False)
def _board_trials(analysis_id: str, trials: str) -> list[dict[str, Any]]:
    curves = _curves(analysis_id)
    if Metric.FEATURE not in curves:
        return []
    return evaluated_json(_evaluated_maps(analysis_id, trials), curves[Metric.FEATURE])


def plans(analysis_id: str, budget_params: int, locks: Locks = ()) -> list[Plan | Impossible]:
    """Return what every method would do at a budget, in the order methods are shown."""
    return _of_every_method(lambda method: plan(analysis_id, method, budget_params, locks))


def plans_for(
    analysis_id: str, aim: Aim, dense_perplexity: float, runs: Sequence[Mapping[str, Any]]
) -> list[Plan | Impossible]:
    """Return what every method would do to meet an aim, in the order methods are shown.

    Args:
        analysis_id: of the analysis.
        aim: a kept fraction, or a perplexity on the text of ``runs``.
        dense_perplexity: of the dense model on that text.
        runs: measurements on one text.
    """
    if aim.perplexity is not None:
        ratio = aim.perplexity / dense_perplexity
        return _of_every_method(lambda method: plan_to_ratio(analysis_id, method, ratio, runs, aim.locks))
    compressible = analysis(analysis_id).inventory.compressible_params
    return plans(analysis_id, Budget.of_kept_fraction(aim.keep, compressible).params, aim.locks)


def _of_every_method(make: Callable[[str], Plan]) -> list[Plan | Impossible]:
    result: list[Plan | Impossible] = []
    for method in PRESETS:
        try:
            result.append(make(method))
        except RankScopeError as error:
            result.append(Impossible(method, str(error)))
    return result


@st.cache_data(max_entries=8, show_spinner="Predicting every method at every budget")
def _discarded_curves(analysis_id: str, trials: str) -> dict[str, list[tuple[float, float]]]:  # noqa: ARG001
    """Return method -> (kept fraction, half the discarded energy in nats) without locks."""
    compressible = analysis(analysis_id).inventory.compressible_params
    curves: dict[str, list[tuple[float, float]]] = {}
    for kept in KEPT_STEPS:
        for found in plans(analysis_id, Budget.of_kept_fraction(kept, compressible).params):
            if isinstance(found, Plan):
                point = found.cost.kept_fraction, found.cost.nats
                points = curves.setdefault(found.method, [])
                if point not in points:
                    points.append(point)
    return curves


def predicted_curves(analysis_id: str, predictor: Predictor) -> dict[str, list[CurvePoint]]:
    """Return method -> (kept fraction, predicted perplexity over dense, lowest, highest) without locks."""
    return {
        method: [(kept, *predictor.predict(nats, get_preset(method).metric).perplexities()) for kept, nats in points]
        for method, points in _discarded_curves(analysis_id, _trials_there()).items()
    }


def predictor(runs: Sequence[Mapping[str, Any]]) -> Predictor:
    """Return the predictor calibrated on measurements of one analysis on one text."""
    return _fit(_calibration(runs))


def _calibration(runs: Sequence[Mapping[str, Any]]) -> Calibration:
    return tuple((run["metric"], run["predicted_nats"], run["nll"] - run["dense_nll"]) for run in runs)


@st.cache_data(max_entries=64, show_spinner=False)
def _fit(runs: Calibration) -> Predictor:
    return Predictor.fit([MeasuredRun(Metric(metric), nats, increase) for metric, nats, increase in runs])


def measured_runs(analysis_id: str) -> list[dict[str, Any]]:
    """Return the measured rank maps of an analysis, newest first."""
    return _runs(analysis_id, tuple(key.fingerprint for key in _store().keys("evaluation")))


@st.cache_data(max_entries=16, show_spinner=False)
def _runs(analysis_id: str, stored: tuple[str, ...]) -> list[dict[str, Any]]:
    """Read measurements with their predictions, which change only when one is ``stored`` or removed."""
    return [run for run in reading.evaluations(_store(), analysis_id) if run["id"] in stored]


def refined_runs(analysis_id: str) -> list[dict[str, Any]]:
    """Return the measured rank maps with refined factors, newest first."""
    return reading.refined_evaluations(_store(), analysis_id)


def comparison(analysis_id: str) -> dict[str, Any] | None:
    """Return the newest table of every method at every budget."""
    return reading.newest_comparison(_store(), analysis_id)


def measured_sensitivity(analysis_id: str) -> dict[str, Any] | None:
    """Return the newest measured sensitivity of an analysis."""
    return reading.measured_sensitivity(_store(), analysis_id)


def demo_licences() -> tuple[Licence, ...]:
    """Return under which licences the demo's parts come."""
    return DEMO_LICENCES


def demo_disk_bytes() -> int:
    """Return how much disk space fetching the demo needs at most."""
    return MODEL_WHEEL.needed_bytes + TEXTS_WHEEL.needed_bytes


def news_prompts() -> dict[str, Prompt]:
    """Return prompts to summarise some of the demo's articles, by title; none where the demo was not fetched."""
    key = TEXTS_WHEEL.key("demo-texts")
    return _news_prompts(str(settings().home)) if key in _store() else {}


@st.cache_data(max_entries=2, show_spinner=False)
def _news_prompts(home: str) -> dict[str, Prompt]:  # noqa: ARG001 - part of the cache's key
    return prompts.summaries_of(_store().read(TEXTS_WHEEL.key("demo-texts")).path("xsum.jsonl"))


def playground() -> Playground:
    """Return what the models are asked through; one for all visitors."""
    return _playground(settings().home)


@st.cache_resource(show_spinner=False, on_release=Playground.close)
def _playground(home: Path) -> Playground:
    return Playground(home)


def jobs() -> list[Job]:
    """Return all jobs, the last submitted first."""
    return _queue().jobs()


def job(job_id: str) -> Job:
    """Return one job.

    Raises:
        JobError: there is none.
    """
    return _queue().get(job_id)


def watched_job(operation: str, analysis_id: str | None, wanted: str | None) -> Job | None:
    """Return the active job of a kind (of one analysis, if given), else the ``wanted`` one if it is of that kind."""
    fitting = [j for j in jobs() if j.operation == operation and analysis_id in {None, j.arguments.get("analysis")}]
    active = [j for j in fitting if not j.status.is_final]
    chosen = [j for j in fitting if j.id == wanted]
    return next(iter([*(j for j in chosen if j in active), *active[::-1], *chosen]), None)


def submit_analysis(arguments: Mapping[str, Any]) -> Job:
    """Queue an analysis.

    Raises:
        RankScopeError: a setting is wrong, or there is no such model or text.
    """
    changed = _changed(arguments, operations.ANALYSE_DEFAULTS)
    return _queue().submit("analyse", changed, title=operations.analysis_title(changed), resubmit=True)


def submit_refinement(analysis_id: str, rank_map: str, arguments: Mapping[str, Any]) -> Job:
    """Queue refining the factors of a rank map and measuring before and after.

    Raises:
        RankScopeError: a setting is wrong, or there is no such text.
    """
    changed = _changed(arguments, operations.REFINE_DEFAULTS)
    operations.refinement_spec(changed)
    title = f"Refine one map of {analysis(analysis_id).about['model']}"
    changed |= {"analysis": analysis_id, "rank_map": rank_map}
    return _queue().submit("refine", changed, title=title, resubmit=True)


def submit_export(analysis_id: str, rank_map: str, name: str, arguments: Mapping[str, Any]) -> Job:
    """Queue writing the compressed model as a folder below the exports.

    Raises:
        RankScopeError: the name cannot be used or is taken, or a setting is wrong.
    """
    folder = settings().exports / check_export_name(name)
    require_new(folder)
    changed = _changed(arguments, operations.EXPORT_DEFAULTS)
    operations.export_spec(changed)
    title = f"Export one map of {analysis(analysis_id).about['model']} as {name}"
    changed |= {"analysis": analysis_id, "rank_map": rank_map, "folder": str(folder)}
    return _queue().submit("export", changed, title=title, resubmit=True)


def submit_comparison(analysis_id: str, arguments: Mapping[str, Any]) -> Job:
    """Queue measuring every method at every budget.

    Raises:
        RankScopeError: a setting is wrong.
    """
    changed = {"analysis": analysis_id, **_changed(arguments, operations.COMPARE_DEFAULTS)}
    title = f"Compare methods on {analysis(analysis_id).about['model']}"
    return _queue().submit("compare", changed, title=title, resubmit=True)


def submit_sensitivity(analysis_id: str, arguments: Mapping[str, Any]) -> Job:
    """Queue measuring the loss increase of every projection cut alone.

    Raises:
        RankScopeError: a setting is wrong, or there is no such text.
    """
    operations.corpus_spec({**operations.SENSITIVITY_DEFAULTS, **arguments}, "calibration")
    changed = {"analysis": analysis_id, **_changed(arguments, operations.SENSITIVITY_DEFAULTS)}
    title = f"Measure the sensitivity of {analysis(analysis_id).about['model']}"
    return _queue().submit("sensitivity", changed, title=title, resubmit=True)


def submit_search(analysis_id: str, arguments: Mapping[str, Any]) -> Job:
    """Queue a search for maps by measuring them.

    Raises:
        RankScopeError: a setting is wrong, or there is no such text.
    """
    changed = _changed(arguments, operations.SEARCH_DEFAULTS)
    operations.search_specs(changed)
    title = operations.search_title(changed, analysis(analysis_id).about["model"])
    return _queue().submit("search", {"analysis": analysis_id, **changed}, title=title, resubmit=True)


def cancel_job(job_id: str) -> None:
    """Cancel a job."""
    _queue().cancel(job_id)


def resume_job(job_id: str) -> None:
    """Queue a failed, cancelled or interrupted job again."""
    _queue().resume(job_id)


def forget_job(job_id: str) -> None:
    """Delete a finished job's record; what it computed stays."""
    _queue().forget(job_id)


def job_log(job_id: str, last_lines: int = 200) -> str:
    """Return what a job printed last."""
    return _queue().log(job_id, last_lines)


def remaining_seconds(job_id: str) -> float | None:
    """Return how long a running job may still take, or ``None`` while its pace is not known."""
    return estimates.remaining_seconds(_queue().progress_history(job_id), time.time())


def estimate(operation: str, arguments: Mapping[str, Any]) -> Estimate | None:
    """Return how long a job may take, judged by finished ones, or ``None`` where none compares."""
    return estimates.estimate(operation, arguments, jobs())


def store_upload(name: str, content: bytes) -> str:
    """Keep an uploaded text under its content's hash and return where it lies.

    Raises:
        CorpusError: it is too large, of another type, or not UTF-8 text.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in {".txt", ".jsonl"} or len(content) > UPLOAD_BYTES:
        raise CorpusError(
            f"The file has {len(content) / 1e6:.1f} MB and the type {suffix or 'unknown'}; expected a .txt or .jsonl "
            f"file of at most {UPLOAD_BYTES // 10**6} MB. Larger files can be named by their path on this machine."
        )
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(f"The file is not UTF-8 text at byte {error.start}; save it as UTF-8.") from error
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")[:60] or "text"
    path = settings().home / "uploads" / hashlib.sha256(content).hexdigest() / f"{stem}{suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(path)
    return str(path)


def _changed(arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ from the defaults, so that equal requests are one job."""
    return {name: value for name, value in arguments.items() if value != defaults[name]}


def _store() -> DirectoryStore:
    return DirectoryStore(settings().artifacts)


def _queue() -> JobQueue:
    return JobQueue(settings().home)
