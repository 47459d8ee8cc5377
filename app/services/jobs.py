"""Jobs: submitted, followed, cancelled, resumed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from app.services import estimates
from app.services.analyses import analysis
from app.services.home import queue
from engine import operations
from engine.export.new_folder import require_new
from engine.export.specs import check_export_name
from engine.jobs import Job
from engine.settings import home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.estimates import Estimate


def jobs() -> list[Job]:
    """Return all jobs, the last submitted first."""
    return queue().jobs()


def job(job_id: str) -> Job:
    """Return one job.

    Raises:
        JobError: there is none.
    """
    return queue().get(job_id)


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
    return queue().submit("analyse", changed, title=operations.analysis_title(changed), resubmit=True)


def submit_refinement(analysis_id: str, rank_map: str, arguments: Mapping[str, Any]) -> Job:
    """Queue refining the factors of a rank map and measuring before and after.

    Raises:
        RankScopeError: a setting is wrong, or there is no such text.
    """
    changed = _changed(arguments, operations.REFINE_DEFAULTS)
    operations.refinement_spec(changed)
    title = f"Refine one map of {analysis(analysis_id).about['model']}"
    changed |= {"analysis": analysis_id, "rank_map": rank_map}
    return queue().submit("refine", changed, title=title, resubmit=True)


def submit_export(analysis_id: str, rank_map: str, name: str, arguments: Mapping[str, Any]) -> Job:
    """Queue writing the compressed model as a folder below the exports.

    Raises:
        RankScopeError: the name cannot be used or is taken, or a setting is wrong.
    """
    folder = home().exports / check_export_name(name)
    require_new(folder)
    changed = _changed(arguments, operations.EXPORT_DEFAULTS)
    operations.export_spec(changed)
    title = f"Export one map of {analysis(analysis_id).about['model']} as {name}"
    changed |= {"analysis": analysis_id, "rank_map": rank_map, "folder": str(folder)}
    return queue().submit("export", changed, title=title, resubmit=True)


def submit_comparison(analysis_id: str, arguments: Mapping[str, Any]) -> Job:
    """Queue measuring every method at every budget.

    Raises:
        RankScopeError: a setting is wrong.
    """
    changed = {"analysis": analysis_id, **_changed(arguments, operations.COMPARE_DEFAULTS)}
    title = f"Compare methods on {analysis(analysis_id).about['model']}"
    return queue().submit("compare", changed, title=title, resubmit=True)


def submit_sensitivity(analysis_id: str, arguments: Mapping[str, Any]) -> Job:
    """Queue measuring the loss increase of every projection cut alone.

    Raises:
        RankScopeError: a setting is wrong, or there is no such text.
    """
    operations.corpus_spec({**operations.SENSITIVITY_DEFAULTS, **arguments}, "calibration")
    changed = {"analysis": analysis_id, **_changed(arguments, operations.SENSITIVITY_DEFAULTS)}
    title = f"Measure the sensitivity of {analysis(analysis_id).about['model']}"
    return queue().submit("sensitivity", changed, title=title, resubmit=True)


def submit_search(analysis_id: str, arguments: Mapping[str, Any]) -> Job:
    """Queue a search for maps by measuring them.

    Raises:
        RankScopeError: a setting is wrong, or there is no such text.
    """
    changed = _changed(arguments, operations.SEARCH_DEFAULTS)
    operations.search_specs(changed)
    title = operations.search_title(changed, analysis(analysis_id).about["model"])
    return queue().submit("search", {"analysis": analysis_id, **changed}, title=title, resubmit=True)


def cancel_job(job_id: str) -> None:
    """Cancel a job."""
    queue().cancel(job_id)


def resume_job(job_id: str) -> None:
    """Queue a failed, cancelled or interrupted job again."""
    queue().resume(job_id)


def forget_job(job_id: str) -> None:
    """Delete a finished job's record; what it computed stays."""
    queue().forget(job_id)


def job_log(job_id: str, last_lines: int = 200) -> str:
    """Return what a job printed last."""
    return queue().log(job_id, last_lines)


def remaining_seconds(job_id: str) -> float | None:
    """Return how long a running job may still take, or ``None`` while its pace is not known."""
    return estimates.remaining_seconds(queue().progress_history(job_id), time.time())


def estimate(operation: str, arguments: Mapping[str, Any]) -> Estimate | None:
    """Return how long a job may take, judged by finished ones, or ``None`` where none compares."""
    return estimates.estimate(operation, arguments, jobs())


def _changed(arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ from the defaults, so that equal requests are one job."""
    return {name: value for name, value in arguments.items() if value != defaults[name]}
