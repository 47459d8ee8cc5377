"""The first page under its own name."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from app.first_page import NamedFirstPage


@pytest.mark.parametrize(
    ("asked", "root"),
    [
        ("/overview", "/"),
        ("/overview/", "/"),
        ("/overview?analysis=39b9afac&keep=70", "/?analysis=39b9afac&keep=70"),
    ],
)
def test_the_first_page_is_found_under_its_name_with_what_the_address_says(asked: str, root: str) -> None:
    page = Route("/{path:path}", lambda _: PlainTextResponse("the page"))
    client = TestClient(Starlette(routes=[page], middleware=[Middleware(NamedFirstPage)]))
    answer = client.get(asked, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, root)
    assert client.get("/results").text == client.get("/").text == "the page"
