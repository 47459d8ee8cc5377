"""Who the dashboard answers: its own pages, and, where other machines reach it, whoever has shown its token."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NOT_SHOWN = "This dashboard asks for a token: open the address that `rankscope app` printed when it was started.\n"


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


class TokenOnly:
    """Answer whoever has shown the token in an address; a cookie remembers it, and the address loses it."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token
        # Cookies do not tell the ports of a machine apart.
        self._cookie = f"rankscope-{hashlib.sha256(token.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        if scope["type"] == "http" and self._is_token(asked.query_params.get("token")):
            answer = RedirectResponse(asked.url.remove_query_params("token"), status_code=303)
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="lax")
            await answer(scope, receive, send)
        elif self._is_token(asked.cookies.get(self._cookie)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await PlainTextResponse(_NOT_SHOWN, status_code=401)(scope, receive, send)

    def _is_token(self, shown: str | None) -> bool:
        return shown is not None and secrets.compare_digest(shown.encode(), self._token.encode())
