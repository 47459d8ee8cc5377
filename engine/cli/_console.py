"""What every command shares: consoles, and following a job."""

from __future__ import annotations

import json
import sys
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from cache import DirectoryStore
from engine.errors import RankScopeError
from engine.jobs import Job, JobQueue, JobStatus
from engine.jobs.engines import choose, engines
from engine.operations import submit
from engine.results.json_form import from_json, to_json
from engine.settings import home, job_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.jobs import Progress as JobProgress
    from engine.operations import Operation

T = TypeVar("T")

# Names, titles and messages come from files of other people: nothing in them is markup.
out = Console(markup=False, emoji=False)
err = Console(stderr=True, markup=False, emoji=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print the documented JSON instead of a table.")]
Detach = Annotated[bool, typer.Option("--detach", help="Queue the job and return; follow it with 'rankscope jobs'.")]
AnalysisId = Annotated[str, typer.Argument(metavar="ANALYSIS", help="Id of an analysis, or the start of it.")]
Device = Annotated[str, typer.Option(help="auto (CUDA, else MPS, else CPU), cpu, mps, cuda or cuda:N.")]
EngineName = Annotated[
    str | None, typer.Option("--engine", help=f"Where the job runs: {', '.join(engines.names())}. Default: as set.")
]
Resources = Annotated[
    str | None,
    typer.Option(
        metavar="NAME=AMOUNT,…", help="What the job needs on a cluster, such as gpu=1,cpu=8. Default: as set."
    ),
]
MetricName = Annotated[str, typer.Option("--metric", help="weight, input, feature or loss.")]


def job_queue() -> JobQueue:
    """Return the queue of the configured home, to look at."""
    return JobQueue(home().root)


def queue_on(engine: str | None = None, resources: str | None = None) -> JobQueue:
    """Return the queue of the configured home, to submit jobs to.

    Args:
        engine: that new jobs run on; by default the one that is set.
        resources: that new jobs ask for; by default those that are set.

    Raises:
        RankScopeError: there is no such engine, it is not set up, or resources cannot be read.
    """
    return JobQueue(home().root, engine=choose(job_settings(), engine, resources))


def artifact_store() -> DirectoryStore:
    """Return the store of the configured home."""
    return home().store


def warn_of_unreadable() -> None:
    """Name a stored result that cannot be read, since what was listed leaves it out."""
    from engine.pipeline.reading.unreadable import unreadable_warning

    if (warning := unreadable_warning(artifact_store())) is not None:
        err.print(f"Warning: {warning}", style="yellow", highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Print a documented result."""

    def plain(part: object) -> object:
        return to_json(part) if is_dataclass(part) else str(part)

    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=plain) + "\n")


def print_values(values: Mapping[str, object]) -> None:
    """Print names and values as a table."""
    table = Table(show_header=False, box=None)
    for name, value in values.items():
        shown = f"{value:,.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
        table.add_row(name.replace("_", " "), shown)
    out.print(table)


def run_job(operation: Operation, kind: type[T], queue: JobQueue) -> T:
    """Submit a job, follow it and return its result, which is of a ``kind``.

    Raises:
        RankScopeError: an argument is wrong, or the job did not finish.
    """
    return from_json(kind, follow(submit(operation, queue, artifact_store()), queue).result)


def finish_job(operation: Operation, kind: type[T], queue: JobQueue, *, detach: bool, as_json: bool) -> T | None:
    """Submit a job; follow it and return its result, or with ``detach`` print its id and return nothing.

    Raises:
        RankScopeError: an argument is wrong, or the job did not finish.
    """
    if not detach:
        return run_job(operation, kind, queue)
    job = submit(operation, queue, artifact_store())
    print_json({"job": job.id}) if as_json else out.print(f"Queued as job {job.id}")
    return None


def follow(job: Job, queue: JobQueue) -> Job:
    """Show a job's progress until it ends; interrupting stops the showing, not the job.

    Raises:
        RankScopeError: it failed, was cancelled or was interrupted.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, TextColumn("{task.fields[message]}", markup=False), console=err, transient=True) as bars:
        bar = bars.add_task(job.title, total=1.0, message="waiting")

        def show(progress: JobProgress) -> None:
            bars.update(bar, completed=progress.fraction or 0.0, message=progress.message, description=progress.stage)

        try:
            ended = queue.wait(job.id, on_progress=show)
        except KeyboardInterrupt:
            err.print(f"The job continues; follow it with: rankscope jobs show {job.id}")
            raise typer.Exit(130) from None
    if ended.status is JobStatus.DONE:
        return ended
    if ended.status is JobStatus.FAILED:
        raise RankScopeError(ended.error or f"The job {ended.id} failed; see: rankscope jobs log {ended.id}")
    raise RankScopeError(f"The job {ended.id} was {ended.status}; resume it with: rankscope jobs resume {ended.id}")
