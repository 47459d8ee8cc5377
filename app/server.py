"""``python -m app.server``: the dashboard's server, with its own settings whatever folder it is started in."""

from __future__ import annotations

import sys
import tomllib
from argparse import ArgumentParser
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware

from app.services.home import queue, store
from app.services.jobs import submit
from cache import StoreError
from engine.errors import RankScopeError
from engine.operations import Analyse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HERE: Final = Path(__file__).parent
SETTINGS: Final = _HERE / ".streamlit" / "config.toml"
"""Where Streamlit itself looks for the settings of a script beside it."""


class OwnPagesOnly:
    """Let no page of another site connect to the dashboard, or show it in a frame.

    Streamlit lets in what another port of this machine serves, and asks a host on the internet for this machine's
    address before it refuses any other site.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or connection."""

        async def send_unframed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Frame-Options"] = "SAMEORIGIN"
            await send(message)

        if scope["type"] == "websocket" and not _is_own(Headers(scope=scope)):
            await send({"type": "websocket.close"})
        else:
            await self._app(scope, receive, send_unframed)


def _is_own(headers: Headers) -> bool:
    """Whether a connection comes from a page of this server, or from no page at all."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def settings() -> dict[str, object]:
    """Return the settings by their full names."""
    return dict(_flat(tomllib.loads(SETTINGS.read_text(encoding="utf-8"))))


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@asynccontextmanager
async def _announce(_: st.App) -> AsyncGenerator[None]:
    """Say where the dashboard is, now that its port is open."""
    address = f"http://{st.get_option('server.address')}:{st.get_option('server.port')}"
    print(f"RankScope is at {address} (Ctrl-C stops it; jobs continue)", file=sys.stderr, flush=True)
    yield


def serve(port: int, *, demo: bool) -> None:
    """Continue queued jobs, and serve the dashboard until the process is ended.

    Args:
        port: on this machine; 0 is any free one.
        demo: begin the demo's analysis when nothing has been analysed and no job was submitted.

    Raises:
        RankScopeError: the home cannot be used.
        StoreError: its store cannot be read.
    """
    queue().recover()
    if demo and not store().keys("analysis") and not queue().jobs():
        submit(Analyse())
    # What is passed on counts more than other settings files and the environment.
    app = st.App(_HERE / "main.py", lifespan=_announce, middleware=[Middleware(OwnPagesOnly)])
    app.run(config=settings() | {"server.port": port})


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--demo", action="store_true")
    given = parser.parse_args()
    try:
        serve(given.port, demo=given.demo)
    except (RankScopeError, StoreError) as error:
        sys.exit(f"Error: {error}")
