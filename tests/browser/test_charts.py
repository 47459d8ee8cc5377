"""Charts as a browser draws them: texts can be read in both themes, and the toolbar covers none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.app.test_colours import AA, contrast
from tests.browser.test_contrast import PALE
from tests.support.running_app import settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard

_TEXTS = """charts => charts.map(chart => ({
  background: getComputedStyle(document.querySelector(".stApp")).backgroundColor,
  texts: [...chart.querySelectorAll("text")].filter(text => text.textContent.trim()).map(text => ({
    said: text.textContent,
    fill: getComputedStyle(text).fill,
    box: text.getBoundingClientRect().toJSON(),
  })),
  toolbar: chart.querySelector(".modebar").getBoundingClientRect().toJSON(),
}))"""


def hexadecimal(colour: str) -> str:
    """Return ``rgb(1, 2, 3)`` as ``#010203``."""
    return "#" + "".join(f"{int(part):02x}" for part in colour[4:-1].split(", "))


def overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    """Whether two boxes share a pixel."""
    return (
        min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 1
    )


@pytest.mark.parametrize(
    ("theme", "path"),
    [
        ("light", "spectra"),
        *(pytest.param(theme, "sensitivity", marks=pytest.mark.sweep) for theme in ("light", "dark")),
    ],
)
def test_texts_can_be_read_in_charts_and_around_them_and_the_toolbar_covers_none(
    page: Page, dashboard: Dashboard, theme: str, path: str
) -> None:
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto(f"{dashboard.address}/{path}")
    settled(page)
    page.locator(".js-plotly-plot .modebar").first.wait_for(state="attached")
    assert page.evaluate(PALE, AA) == []
    drawn = page.locator(".js-plotly-plot").evaluate_all(_TEXTS)
    assert drawn
    for chart in drawn:
        assert chart["texts"]
        for text in chart["texts"]:
            assert contrast(hexadecimal(text["fill"]), hexadecimal(chart["background"])) >= AA, text
            assert not overlap(text["box"], chart["toolbar"]), text
