"""``rankscope jobs``: the queue, from a terminal."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from engine.cli._console import AsJson, follow, job_queue, out, print_json
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
    table = Table("job", "status", "done", "title", "message")
    for job in jobs:
        shown = describe(job)
        fraction = shown["fraction"]
        done = f"{fraction:.0%}" if isinstance(fraction, float) else ""
        table.add_row(job.id, str(job.status), done, job.title, job.error or str(shown["message"] or ""))
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
def resume(job_id: JobId) -> None:
    """Queue a job again; it goes on after its last finished stage."""
    out.print(f"Job {job_id} is {job_queue().resume(job_id).status}")


@group.command(epilog="Example: rankscope jobs forget 3f2a")
def forget(job_id: JobId) -> None:
    """Delete the record of a finished job; its results stay in the store."""
    job_queue().forget(job_id)
    out.print(f"Job {job_id} is forgotten")
