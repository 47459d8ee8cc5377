"""Streamlit's own files, compressed for browsers on other machines: it leaves that to a proxy."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Final

from anyio import to_thread
from starlette.datastructures import Headers

from app.whole_answers import send_changed

if TYPE_CHECKING:
    from starlette.datastructures import MutableHeaders
    from starlette.types import ASGIApp, Receive, Scope, Send

_KINDS: Final = ("text/", "application/javascript", "application/json")


class CompressedFiles:
    """Compress each file once, for everybody; names carry the hash of the content, so that none changes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed: dict[str, bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or connection."""
        if not _asks_for_a_file(scope):
            await self._app(scope, receive, send)
            return

        async def compress(status: int, headers: MutableHeaders, content: bytes) -> bytes:
            if status != 200 or not headers.get("content-type", "").startswith(_KINDS):
                return content
            if scope["path"] not in self._compressed:
                self._compressed[scope["path"]] = await to_thread.run_sync(gzip.compress, content, 6)
            headers["Content-Encoding"] = "gzip"
            headers.add_vary_header("Accept-Encoding")
            return self._compressed[scope["path"]]

        await send_changed(self._app, scope, receive, send, compress)


def _asks_for_a_file(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith("/static/"):
        return False
    headers = Headers(scope=scope)
    return "gzip" in headers.get("accept-encoding", "") and "range" not in headers
