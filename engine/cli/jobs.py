"""``rankscope jobs``: the queue, from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from engine.cli._console import AsJson, EngineName, Resources, follow, job_queue, out, print_json, queue_on
from engine.jobs import Job

group = typer.Typer(help="See, cancel and resume jobs.", invoke_without_command=True)
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or the start of it.")]


def describe(job: Job) -> dict[str, object]:
    """Return the documented JSON of a job."""
    progress = job.progress
    return {
        "job": job.id,
        "operation": job.operation,
        "title": job.title,
        "status": str(job.status),
        "engine": job.engine.name,
        "resources": dict(job.engine.resources),
        "place": None if job.place is None else str(job.place),
        "stage": progress.stage if progress else None,
        "fraction": progress.fraction if progress else None,
        "message": progress.message if progress else None,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "error": job.error,
        "result": job.result,
    }


@group.callback(epilog="Example: rankscope jobs --json")
def list_jobs(context: typer.Context, as_json: AsJson = False) -> None:
    """List jobs, newest first."""
    if context.invoked_subcommand:
        return
    jobs = job_queue().jobs()
    if as_json:
        print_json({"jobs": [describe(job) for job in jobs]})
        return
    elsewhere = any(not job.engine.is_local for job in jobs)
    table = Table("job", "status", "done", "title", *(["where"] if elsewhere else []), "message")
    for job in jobs:
        shown = describe(job)
        fraction = shown["fraction"]
        done = f"{fraction:.0%}" if isinstance(fraction, float) else ""
        where = [str(job.place or job.engine.name)] if elsewhere else []
        message = job.error or str(shown["message"] or "")
        table.add_row(job.id, str(job.status), done, job.title, *where, message)
    out.print(table)


@group.command(epilog="Example: rankscope jobs show 3f2a")
def show(job_id: JobId, as_json: AsJson = False) -> None:
    """Show one job."""
    shown = describe(job_queue().get(job_id))
    if as_json:
        print_json(shown)
    else:
        for name, value in shown.items():
            out.print(f"{name}: {value}", soft_wrap=True)


@group.command(epilog="Example: rankscope jobs log 3f2a")
def log(job_id: JobId) -> None:
    """Print the end of a job's log."""
    out.print(job_queue().log(job_id), soft_wrap=True, highlight=False)


@group.command(epilog="Example: rankscope jobs wait 3f2a")
def wait(job_id: JobId, as_json: AsJson = False) -> None:
    """Follow a job until it ends."""
    queue = job_queue()
    ended = follow(queue.get(job_id), queue)
    print_json(describe(ended)) if as_json else out.print(f"Job {ended.id} is {ended.status}")


@group.command(epilog="Example: rankscope jobs cancel 3f2a")
def cancel(job_id: JobId) -> None:
    """Cancel a job and everything it started."""
    out.print(f"Job {job_id} is {job_queue().cancel(job_id).status}")


@group.command(epilog="Example: rankscope jobs resume 3f2a")
def resume(job_id: JobId, engine: EngineName = None, resources: Resources = None) -> None:
    """Queue a job again where it ran before, or on another engine; it goes on after its last finished stage."""
    elsewhere = queue_on(engine, resources).engine if engine or resources else None
    out.print(f"Job {job_id} is {job_queue().resume(job_id, elsewhere).status}")


@group.command(epilog="Example: rankscope jobs forget 3f2a")
def forget(job_id: JobId) -> None:
    """Delete the record of a finished job; its results stay in the store."""
    job_queue().forget(job_id)
    out.print(f"Job {job_id} is forgotten")
