"""One budget for all pages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from streamlit.testing.v1 import AppTest

from app.pages import page_file
from tests.app.conftest import sent_to_browser

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def go(page: AppTest, path: str) -> AppTest:
    """Change the page as a click in the navigation does: the URL loses what it said."""
    page.query_params.clear()
    return page.switch_page(page_file(path)).run()


def test_the_budget_chosen_last_wins_on_both_pages(analysed_home: Path, open_page: Callable[..., AppTest]) -> None:
    page = open_page("playground")
    page.slider(key="budget").set_value(60.0).run()
    assert page.query_params["keep"] == "0.6"
    page = go(page, "allocation")
    assert page.query_params["keep"] == "0.6"
    # The board reports through its callback, which the test of the browser runs; here its result is put in place.
    page.session_state["board"] = replace(page.session_state["board"], keep=0.537, target=30.0)
    page = go(page, "overview")
    assert sent_to_browser(page, "lines")["keep"] == 0.537
    assert page.session_state["board"].target == 30.0
    page = go(page, "playground")
    assert page.slider(key="budget").value == 53.7
    page.slider(key="budget").set_value(70.0).run()
    page = go(page, "allocation")
    assert page.query_params["keep"] == "0.7"
    assert "ppl" not in page.query_params
    assert not page.exception


def test_a_link_brings_its_budget_to_the_overview(analysed_home: Path, open_page: Callable[..., AppTest]) -> None:
    assert sent_to_browser(open_page("overview", keep="0.45"), "lines")["keep"] == 0.45
