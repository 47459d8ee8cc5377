"""The first page under its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from app.pages import FIRST

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class NamedFirstPage:
    """Lead from the first page's name to the root, which is the only address that Streamlit gives a default page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._path = f"/{FIRST}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or connection."""
        if scope["type"] == "http" and scope["path"].rstrip("/") == self._path:
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(f"/?{query}" if query else "/", status_code=303)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
