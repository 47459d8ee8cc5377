"""Streamlit's own files, compressed for browsers on other machines: it leaves that to a proxy."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Final

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
        start: Message | None = None
        body = bytearray()

        async def send_compressed(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.extend(message.get("body", b""))
            if message.get("more_body") or start is None:
                return
            headers, content = MutableHeaders(scope=start), bytes(body)
            if start["status"] == 200 and headers.get("content-type", "").startswith(_KINDS):
                if scope["path"] not in self._compressed:
                    self._compressed[scope["path"]] = await to_thread.run_sync(gzip.compress, content, 6)
                content = self._compressed[scope["path"]]
                headers["Content-Encoding"] = "gzip"
                headers["Content-Length"] = str(len(content))
                headers.add_vary_header("Accept-Encoding")
            await send(start)
            await send({"type": "http.response.body", "body": content})

        await self._app(scope, receive, send_compressed)


def _asks_for_a_file(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith("/static/"):
        return False
    headers = Headers(scope=scope)
    return "gzip" in headers.get("accept-encoding", "") and "range" not in headers
