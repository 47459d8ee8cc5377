"""The lines of the Spectra page: their numbers, their marks, and the ways to choose them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from app import charts, tables

if TYPE_CHECKING:
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

Open = "Callable[..., AppTest]"
ENERGIES = {"L0 q": np.array([16.0, 4.0, 4.0, 1.0]), "L0 k": np.zeros(3)}
BLOCKS = pd.DataFrame({"block": ["L0 q", "L0 k"], "full_rank": [4, 3], "break_even": [2, 0], "break_even_skip": [3, 2]})


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("sigma", [1, 0.5, 0.5, 0.25]), ("kept", [0.64, 0.8, 0.96, 1]), ("lost", [0.36, 0.2, 0.04, 0])],
)
def test_quantities_at_every_rank(quantity: str, expected: list[float]) -> None:
    lines = tables.spectrum_lines(ENERGIES, quantity)
    assert list(lines.index) == [1, 2, 3, 4]
    np.testing.assert_allclose(lines["L0 q"], expected, atol=1e-15)
    np.testing.assert_array_equal(lines["L0 k"], [0, 0, 0, np.nan])


def test_what_is_lost_stays_exact_far_below_what_is_kept() -> None:
    lines = tables.spectrum_lines({"b": np.array([1.0, 1e-30])}, "lost")
    assert lines["b"][1] == pytest.approx(1e-30)


def test_long_spectra_are_thinned_but_keep_their_ends() -> None:
    lines = tables.spectrum_lines({"b": np.arange(4096.0, 0, -1)}, "kept")
    assert len(lines) < 400
    assert (lines.index[0], lines.index[-1], lines["b"].iloc[-1]) == (1, 4096, pytest.approx(1))
    assert np.diff(lines.index).max() < 25


def test_marks_sit_on_the_line_at_the_break_even_rank_of_each_format() -> None:
    lines = tables.spectrum_lines(ENERGIES, "kept")
    figure = charts.spectra(lines, BLOCKS, "kept", relative=True)
    line, plain, skip = [t for t in figure.data if t.legendgroup == "L0 q"]
    np.testing.assert_allclose(line.x, [0.25, 0.5, 0.75, 1])
    assert (list(plain.x), list(plain.y)) == ([0.5], [0.8])
    assert (list(skip.x), list(skip.y)) == ([0.75], [0.96])
    assert plain.marker.symbol != skip.marker.symbol
    assert [t.name for t in figure.data if t.mode == "markers" and t.showlegend is not False] == [
        "break-even: low-rank, cat",
        "break-even: skip, skip+cat",
    ]


def test_on_a_logarithmic_axis_zeros_are_left_out() -> None:
    figure = charts.spectra(tables.spectrum_lines(ENERGIES, "lost"), BLOCKS, "lost", log_height=True, log_rank=True)
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")
    for trace in figure.data:
        assert not (np.array(trace.y, dtype=float) <= 0).any()


def picked(page: AppTest) -> list[str]:
    return page.multiselect(key="spectra.picked").value


def test_a_kind_or_a_layer_is_drawn_at_once(open_page: Open, analysed_home: Path, toy_analysis: Analysis) -> None:
    page = open_page("spectra")
    assert all(name.startswith("model.layers.1.") for name in picked(page))
    page.menu_button(key="spectra.kind").click("down").run()
    assert picked(page) == [f"model.layers.{i}.mlp.down_proj" for i in range(3)]
    page.menu_button(key="spectra.layer").click(2).run()
    assert len(picked(page)) == 7
    assert all(name.startswith("model.layers.2.") for name in picked(page))
    page.button(key="spectra.clear").click().run()
    assert picked(page) == []
    assert not page.exception


def test_every_quantity_scale_and_metric_is_shown(open_page: Open, analysed_home: Path) -> None:
    page = open_page("spectra")
    for quantity in tables.QUANTITIES:
        page.button_group(key="spectra.quantity").set_value(quantity).run()
        page.button_group(key=f"spectra.axes.{quantity}").set_value(["rank", "relative"]).run()
        assert not page.exception
    for metric in page.selectbox(key="spectra.metric").options:
        page.selectbox(key="spectra.metric").select(metric).run()
        assert not page.exception
        assert not page.error
