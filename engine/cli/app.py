"""``rankscope app``: start the dashboard."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import InvalidSpecError
from engine.paths import given_path


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("app", epilog="Example: rankscope app --port 8600")(open_dashboard)


def open_dashboard(
    port: Annotated[int, typer.Option(help="Port; 0: any free one.", envvar="PORT", min=0, max=65535)] = 8501,
    host: Annotated[
        str, typer.Option(help="Address to listen on; on any but this machine's own, visitors need a token.")
    ] = "127.0.0.1",
    allow_folder: Annotated[
        list[Path] | None,
        typer.Option(help="With --host: folder whose models and texts visitors may use; may be repeated."),
    ] = None,
    demo: Annotated[bool, typer.Option(help="Analyse the demo model when nothing has been analysed yet.")] = True,
) -> None:
    """Start the dashboard; a first start also begins the demo's analysis."""
    folders = [given_path(str(folder)).absolute() for folder in allow_folder or []]
    if missing := next((folder for folder in folders if not folder.is_dir()), None):
        raise InvalidSpecError(f"There is no folder {missing} to allow; give one that holds models or texts.")
    _require_free(host, port)
    # This process becomes the server, so that whatever ends it ends the server. -P: modules of the folder it is
    # started in are not imported.
    words = [*(["--demo"] if demo else []), host, str(port), *map(str, folders)]
    command = [sys.executable, "-P", "-m", "app.server", *words]
    os.execv(command[0], command)  # noqa: S606 -- no shell is wanted


def _require_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InvalidSpecError(
                f"Port {port} of {host} cannot be used ({error.strerror}); choose another with --port, or --port 0 "
                "for any free one."
            ) from error
