"""``rankscope app``: start the dashboard."""

from __future__ import annotations

import os
import socket
import sys
from typing import Annotated

import typer

from engine.errors import InvalidSpecError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("app", epilog="Example: rankscope app --port 8600")(open_dashboard)


def open_dashboard(
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1; 0: any free one.", envvar="PORT", min=0, max=65535)
    ] = 8501,
    demo: Annotated[bool, typer.Option(help="Analyse the demo model when nothing has been analysed yet.")] = True,
) -> None:
    """Start the dashboard on this machine; a first start also begins the demo's analysis."""
    _require_free(port)
    # This process becomes the server, so that whatever ends it ends the server. -P: modules of the folder it is
    # started in are not imported.
    command = [sys.executable, "-P", "-m", "app.server", str(port), *(["--demo"] if demo else [])]
    os.execv(command[0], command)  # noqa: S606 -- no shell is wanted


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InvalidSpecError(
                f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}); choose another with --port, or --port 0 "
                "for any free one."
            ) from error
