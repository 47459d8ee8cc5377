"""The ``rankscope`` command: every operation of the dashboard, for terminals and scripts.

Results go to standard output (``--json`` gives the documented JSON), progress and errors to standard error.
"""

from __future__ import annotations

import sys

import typer

from cache import StoreError
from engine.cli import (
    artifacts,
    comparing,
    dashboard,
    evaluating,
    exporting,
    generating,
    job_commands,
    maps,
    refining,
    searching,
    stages,
)
from engine.cli._console import err
from engine.errors import RankScopeError

app = typer.Typer(
    name="rankscope",
    help="See, allocate and measure the rank structure of language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
stages.register(app)
evaluating.register(app)
searching.register(app)
refining.register(app)
exporting.register(app)
comparing.register(app)
generating.register(app)
dashboard.register(app)
app.add_typer(maps.app, name="maps")
app.add_typer(job_commands.app, name="jobs")
app.add_typer(artifacts.app, name="cache")


def main() -> None:
    """Run the command; a deliberate error is one sentence and exit code 1."""
    try:
        app()
    except (RankScopeError, StoreError) as error:
        err.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
