"""``python -m app.server``: the dashboard's server, with its own settings whatever folder it is started in."""

from __future__ import annotations

import secrets
import socket
import sys
import tomllib
from argparse import ArgumentParser
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import streamlit as st
from starlette.middleware import Middleware

from app.access import OwnPagesOnly, TokenOnly
from app.compressed_files import CompressedFiles
from app.first_page import NamedFirstPage
from app.page_style import StyledPage
from app.services.home import queue, store
from app.services.jobs import submit
from cache import StoreError
from engine.errors import RankScopeError
from engine.operations import Analyse
from engine.paths import confine_to
from engine.settings import home, visitors_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence


_HERE: Final = Path(__file__).parent
SETTINGS: Final = _HERE / ".streamlit" / "config.toml"
"""Where Streamlit itself looks for the settings of a script beside it."""


def settings() -> dict[str, object]:
    """Return the settings by their full names."""
    return dict(_flat(tomllib.loads(SETTINGS.read_text(encoding="utf-8"))))


def _flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_of_this_machine(host: str) -> bool:
    """Whether an address is one that no other machine can reach."""
    return host == "localhost" or (_is_number(host) and ip_address(host).is_loopback)


def _shown(host: str) -> str:
    """Return what an address has to name to lead to what listens on ``host``."""
    if _is_number(host) and ip_address(host).is_unspecified:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _is_number(host: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(host))
    return False


def serve(host: str, port: int, folders: Sequence[Path], *, demo: bool) -> None:
    """Continue queued jobs, and serve the dashboard until the process is ended.

    Args:
        host: the address it listens on; on any but this machine's own, visitors show a token and may name no file
            outside ``folders``.
        port: 0 is any free one.
        folders: of models and texts that visitors may use.
        demo: begin the demo's analysis when nothing has been analysed and no job was submitted.

    Raises:
        RankScopeError: the home cannot be used, or the token is too short.
        StoreError: its store cannot be read.
    """
    queue().recover()
    if demo and not store().keys("analysis") and not queue().jobs():
        submit(Analyse())
    token = visitors_token()
    middleware = [Middleware(OwnPagesOnly), Middleware(NamedFirstPage), Middleware(StyledPage)]
    changed: dict[str, object] = {"server.address": host, "server.port": port}
    if not _is_of_this_machine(host):
        token = token or secrets.token_urlsafe()
        confine_to([*folders, home().uploads])
        middleware.append(Middleware(CompressedFiles))
        changed["server.allowedHosts"] = []  # the cookie belongs to the name it was given under
    if token is not None:
        middleware.append(Middleware(TokenOnly, token=token))

    @asynccontextmanager
    async def announce(_: st.App) -> AsyncGenerator[None]:
        """Say where the dashboard is, now that its port is open."""
        query = "" if token is None else f"/?{urlencode({'token': token})}"
        address = f"http://{_shown(host)}:{st.get_option('server.port')}{query}"
        print(f"RankScope is at {address} (Ctrl-C stops it; jobs continue)", file=sys.stderr, flush=True)
        yield

    # What is passed on counts more than other settings files and the environment.
    app = st.App(_HERE / "main.py", lifespan=announce, middleware=middleware)
    app.run(config=settings() | changed)


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--demo", action="store_true")
    given = parser.parse_args()
    try:
        serve(given.host, given.port, given.folders, demo=given.demo)
    except (RankScopeError, StoreError) as error:
        sys.exit(f"Error: {error}")
