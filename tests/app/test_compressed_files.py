"""Streamlit's files are compressed once for browsers that can read that."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from app.compressed_files import CompressedFiles

if TYPE_CHECKING:
    from starlette.requests import Request

SCRIPT = b"const a = 1;\n" * 10_000


async def file(request: Request) -> Response:
    kind = {"js": "text/javascript", "woff2": "font/woff2"}[request.url.path.rpartition(".")[2]]
    return Response(SCRIPT, 200, {"ETag": "x"}, kind)


async def unchanged(_: Request) -> Response:
    return Response(None, 304, {"ETag": "x"})


def client() -> TestClient:
    routes = [Route("/static/known.js", unchanged)]
    routes += [Route(f"/{folder}/{name}", file) for folder in ("static", "media") for name in ("a.js", "a.woff2")]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(CompressedFiles)]))


def test_a_script_is_received_in_less_than_a_tenth_and_read_as_it_was() -> None:
    for _ in range(2):
        with client().stream("GET", "/static/a.js", headers={"accept-encoding": "gzip, br"}) as answer:
            received = b"".join(answer.iter_raw())
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert int(answer.headers["content-length"]) == len(received) < len(SCRIPT) / 10
        assert gzip.decompress(received) == SCRIPT


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/static/a.js", {"accept-encoding": "identity"}),
        ("/static/a.js", {"accept-encoding": "gzip", "range": "bytes=0-9"}),
        ("/static/a.woff2", {"accept-encoding": "gzip"}),
        ("/media/a.js", {"accept-encoding": "gzip"}),
    ],
)
def test_everything_else_is_left_as_it_is(path: str, headers: dict[str, str]) -> None:
    answer = client().get(path, headers=headers)
    assert "content-encoding" not in answer.headers
    assert answer.content == SCRIPT


def test_a_file_that_a_browser_has_keeps_its_length() -> None:
    answer = client().get("/static/known.js", headers={"accept-encoding": "gzip", "if-none-match": "x"})
    assert answer.status_code == 304
    assert "content-length" not in answer.headers
