"""Percentages: written alike in texts, tables, sliders and charts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import streamlit as st

import app
from app import charts
from app.widgets import columns
from engine.results.words import percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamlit.testing.v1 import AppTest


@pytest.mark.parametrize("fraction", [0.0, 0.07, 0.7994, 0.99949, 1.0])
def test_tables_and_sliders_write_percentages_as_texts_do(fraction: float) -> None:
    assert columns.PERCENT % (100 * fraction) == percent(fraction)


def test_only_shares_are_counted_in_hundreds() -> None:
    table = pd.DataFrame({"kept": [0.7994], "rank": [8], "name": ["q"]})
    config = {"kept": columns.KEPT, "rank": st.column_config.NumberColumn("Rank"), "name": "Name", "gone": columns.KEPT}
    shown = columns.in_percent(table, config)
    assert shown.to_dict("records") == [{"kept": pytest.approx(79.94), "rank": 8, "name": "q"}]
    assert table["kept"].item() == 0.7994


def test_no_page_has_another_format() -> None:
    root = Path(app.__file__).parent
    others = ('format="percent"', ".0%", ".1%", ".2%", ".3%")
    found = [(p.name, other) for p in root.rglob("*.py") for other in others if other in p.read_text("utf-8")]
    assert not found


def test_axes_count_in_hundreds_with_the_sign_of_the_texts() -> None:
    figure = charts.score_shares(pd.DataFrame({"a": [0.25, 0.75]}, index=pd.Index([0, 1], name="layer")))
    assert list(figure.data[0].y) == [25, 75]
    assert figure.layout.yaxis.ticksuffix == " %"


def test_the_table_of_projections_shows_kept_fractions_in_hundreds(
    open_page: Callable[..., AppTest], analysed_home: Path
) -> None:
    kept = open_page("sensitivity").dataframe[-1].value["kept"]
    assert 1 < kept.max() <= 100


@pytest.mark.parametrize(
    ("page", "key", "old", "shown"),
    [
        ("sensitivity", "cut", "0.6", 60),
        ("sensitivity", "cut", "60", 60),
        ("spectra", "energy", "0.95", 95),
        ("playground", "start", "0.8", 80),
        ("playground", "end", "0.4", 40),
    ],
)
@pytest.mark.usefixtures("analysed_home")
def test_fractions_in_links_of_earlier_versions_are_understood(
    open_page: Callable[..., AppTest], page: str, key: str, old: str, shown: float
) -> None:
    opened = open_page(page, **{key: old, "progressive": "true"})
    assert not opened.exception
    assert opened.slider(key=key).value == shown
