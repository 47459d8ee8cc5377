"""The words behind the question mark: on every page, the same as in a report, with what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.pages import PAGES
from app.services import measurements
from app.wording import method_cards
from engine.methods.presets import PRESETS
from engine.prediction.runs import reference_text
from engine.results import glossary
from engine.types import Format
from tests.app.test_saved_maps import query

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis


def test_every_format_and_every_method_is_explained() -> None:
    assert set(glossary.FORMATS) == set(Format)
    assert set(glossary.METHODS) == set(PRESETS)
    assert {"Ranks in steps", "Predicted speed"} <= {term.word for term in glossary.TERMS}


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_the_question_mark(open_page: Callable[..., AppTest], analysed_home: Path, name: str) -> None:
    assert open_page(name).button(key="glossary.open").label == "?"


def test_the_question_mark_opens_words_methods_and_formats(
    open_page: Callable[..., AppTest], analysed_home: Path
) -> None:
    page = open_page("overview").button(key="glossary.open").click().run()
    assert not page.exception
    shown = "\n".join(block.value for block in page.markdown)
    for said in (
        "**Kept fraction.**",
        "**Water\u2011filling**".replace("\u2011", "-"),
        "skip\\+cat",
        "not measured yet",
    ):
        assert said in shown, said


def test_a_methods_card_says_what_it_did_on_this_model(toy_analysis: Analysis, analysed_home: Path) -> None:
    text = reference_text(measurements.result_rows(toy_analysis.id))
    assert text is not None
    (row,) = [row for row in text.rows if row.method == "svd-llm"]
    card = method_cards.method_card(PRESETS["svd-llm"], text)
    assert f"{text.of(row).ratio:.3f} × at {100 * row.size.kept_fraction:.1f} % kept" in card
    assert "arXiv:2403.07378" in card


def test_a_report_has_the_same_words(toy_analysis: Analysis, analysed_home: Path) -> None:
    (row, *_) = [row for row in measurements.result_rows(toy_analysis.id) if not row.is_dense]
    html = measurements.report_html(toy_analysis.id, row.rank_map.to_json()).replace("\u00a0", " ")
    assert all(f"<dt>{term.word}</dt><dd>{term.meaning}</dd>" in html for term in glossary.REPORT_TERMS)


def test_presentation_mode_is_in_the_address_and_hides_captions(
    open_page: Callable[..., AppTest], analysed_home: Path
) -> None:
    page = open_page("results").button(key="presentation").click().run()
    assert not page.exception
    assert query(page)["present"] == "1"
    assert any("stCaptionContainer" in html.proto.body for html in page.get("html"))
    page = open_page("overview", present="1").button(key="presentation").click().run()
    assert "present" not in query(page)
