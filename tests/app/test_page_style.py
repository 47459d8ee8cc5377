"""The style that every page has from its first frame on."""

from __future__ import annotations

import ast
import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, PlainTextResponse

import app
from app.page_script import SCRIPT
from app.page_style import STYLE, WAITING, WIDTHS, StyledPage

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE = "<html><head><title>é</title></head><body></body></html>"


def ask(app: ASGIApp, **headers: str) -> tuple[dict[bytes, bytes], bytes]:
    """Return the headers and the body of an answer."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    asked = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": asked}
    # A browser test before this one may have left its loop running in this thread.
    with ThreadPoolExecutor() as threads:
        threads.submit(lambda: asyncio.run(StyledPage(app)(scope, receive, send))).result()
    return dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent)


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    names = {name for name, _ in scope["headers"]}
    assert not names & {b"accept-encoding", b"if-none-match"}, "the answer would not be the whole page as text"
    await HTMLResponse(PAGE, headers={"ETag": "of the page without a style"})(scope, receive, send)


def test_a_page_has_the_style_in_its_head() -> None:
    headers, body = ask(page, accept="text/html,*/*", accept_encoding="gzip", if_none_match="of an older style")
    styled = PAGE.replace("<head>", "<head>" + SCRIPT.decode()).replace("</head>", STYLE.decode() + "</head>")
    assert body.decode() == styled
    assert int(headers[b"content-length"]) == len(body)
    assert b"etag" not in headers


def test_everything_else_is_left_as_it_is() -> None:
    _, body = ask(PlainTextResponse("</head>"), accept="*/*", accept_encoding="gzip")
    assert body == b"</head>"


def test_every_width_of_parts_beside_each_other_has_its_rule() -> None:
    calls = [
        node
        for path in Path(app.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "beside"
    ]
    used = {width.value for call in calls for width in call.args[1:] if isinstance(width, ast.Constant)}
    assert used == set(WIDTHS)
    assert all(f"flex: {width} 1 {width}px" in STYLE.decode() for width in WIDTHS)


def test_every_input_with_a_place_to_wait_in_is_one_of_the_dashboards() -> None:
    calls = [
        keyword.value.value
        for path in Path(app.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "key" and isinstance(keyword.value, ast.Constant)
    ]
    assert set(WAITING) <= set(calls)
    named = set(re.findall(r"\.st-key-([a-z-]+)", STYLE.decode())) - {"beside-"}
    assert named <= {str(key).replace(".", "-") for key in calls}
