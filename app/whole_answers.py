"""Answers of Streamlit's server that are changed before they are sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Change = Callable[[int, MutableHeaders, bytes], Awaitable[bytes]]
"""Status, headers, which may be changed, and content -> the content that is sent."""


async def send_changed(app: ASGIApp, scope: Scope, receive: Receive, send: Send, change: Change) -> None:
    """Let an application answer one request, and send its answer changed, as one whole."""
    start: Message | None = None
    body = bytearray()

    async def collect(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        body.extend(message.get("body", b""))
        if message.get("more_body") or start is None:
            return
        headers = MutableHeaders(scope=start)
        content = await change(start["status"], headers, bytes(body))
        if content != body:
            headers["Content-Length"] = str(len(content))
        await send(start)
        await send({"type": "http.response.body", "body": content})

    await app(scope, receive, collect)
