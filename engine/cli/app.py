"""``rankscope app``: start the dashboard."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.cli._console import artifact_store, err, job_queue
from engine.operations import Analyse, submit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("app", epilog="Example: rankscope app --port 8600")(open_dashboard)


def open_dashboard(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", envvar="PORT")] = 8501,
    demo: Annotated[bool, typer.Option(help="Analyse the demo model when nothing has been analysed yet.")] = True,
) -> None:
    """Start the dashboard on this machine; a first start also begins the demo's analysis."""
    queue = job_queue()
    queue.recover()
    if demo and not artifact_store().keys("analysis") and not queue.jobs():
        submit(Analyse(), queue, artifact_store())
    found = importlib.util.find_spec("app")
    assert found is not None
    assert found.submodule_search_locations is not None
    main = Path(found.submodule_search_locations[0]) / "main.py"
    err.print(f"RankScope is at http://127.0.0.1:{port} (Ctrl-C stops it; jobs continue)", markup=False)
    command = [sys.executable, "-m", "streamlit", "run", str(main), "--server.port", str(port)]
    raise typer.Exit(subprocess.call(command, cwd=main.parent.parent))
