"""Charts for people who cannot tell all colours apart, or cannot see them: distances, symbols, dashes and texts."""

from __future__ import annotations

import ast
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from streamlit.elements.lib.streamlit_plotly_theme import GRAY_90

import app
from app import charts
from app.charts.colour_bar import colour_bar
from app.charts.style import TEXT, framed
from app.views.spectra.block_choice import MOST_LINES
from engine.methods.presets import PRESETS
from engine.results.palette import HIGHLIGHT, SEQUENTIAL
from engine.types import Format

# Full dichromacy in linear RGB: Machado, Oliveira & Fernandes (2009), table 1, severity 1.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
AA = 4.5
"""Of text to its background, by WCAG 2."""

DISTINCT = 15.0
"""In CIELAB: more than six times what is just noticeable (2.3)."""


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """Return a hex colour in CIELAB (D65) as it is seen."""
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (to_xyz @ np.clip(seen @ linear, 0, 1)) / np.array([0.9505, 1.0, 1.089])
    x, y, z = (np.cbrt(v) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_lines_differ_in_colour_as_seen_or_in_their_dash(vision: str) -> None:
    for (one, dash), (other, other_dash) in combinations([charts.line_style(i) for i in range(MOST_LINES)], 2):
        distance = np.linalg.norm(lab(one, VISION[vision]) - lab(other, VISION[vision]))
        assert dash != other_dash or distance > DISTINCT, (one, other, distance)


@pytest.mark.parametrize("vision", VISION)
def test_every_colour_stands_out_from_both_backgrounds(vision: str) -> None:
    for colour in charts.OKABE_ITO:
        for background in ("#FFFFFF", "#0E1117"):
            assert np.linalg.norm(lab(colour, VISION[vision]) - lab(background, VISION[vision])) > DISTINCT


def test_methods_differ_in_symbol_and_in_colour_with_dash() -> None:
    titles = [preset.title for preset in PRESETS.values()]
    assert len({charts.method_style(title)[1] for title in titles}) == len(titles)
    assert len({(charts.method_style(title)[0], charts.method_dash(title)) for title in titles}) == len(titles)


@pytest.mark.parametrize("vision", VISION)
def test_a_heatmaps_colours_rise_in_lightness_and_stand_out_from_both_backgrounds(vision: str) -> None:
    colours = [lab(colour, VISION[vision]) for colour in SEQUENTIAL]
    assert (np.diff([lightness for lightness, *_ in colours]) > 3).all()
    for background in ("#FFFFFF", "#0E1117"):
        page = lab(background, VISION[vision])
        assert min(np.linalg.norm(colour - page) for colour in colours) > DISTINCT


@pytest.mark.parametrize("vision", VISION)
def test_frames_and_lines_over_depth_stand_out(vision: str) -> None:
    frame = lab(HIGHLIGHT, VISION[vision])
    assert min(np.linalg.norm(frame - lab(colour, VISION[vision])) for colour in SEQUENTIAL) > DISTINCT
    first, last = (lab(colour, VISION[vision]) for colour in charts.depth_colours([0, 29])[:2])
    assert np.linalg.norm(first - last) > 4 * DISTINCT
    for colour in charts.depth_colours(range(30)):
        assert min(contrast(colour, background) for background in ("#FFFFFF", "#191919")) > 3


def test_formats_have_colours_that_no_method_has() -> None:
    script = Path(app.__file__).with_name("components") / "rank_board" / "board" / "map.js"
    (line,) = re.findall(r"COLOURS = \{(.*)\};", script.read_text(encoding="utf-8"))
    formats = [colour.upper() for colour in re.findall(r"#\w{6}", line)]
    assert len(formats) == len(Format)
    methods = [charts.method_style(preset.title)[0] for preset in PRESETS.values()]
    for vision, seen in VISION.items():
        for one, other in combinations(formats, 2):
            assert np.linalg.norm(lab(one, seen) - lab(other, seen)) > DISTINCT, (vision, one, other)
    for one in formats:
        for method in methods:
            assert np.linalg.norm(lab(one, VISION["normal"]) - lab(method, VISION["normal"])) > DISTINCT


def contrast(one: str, other: str) -> float:
    """Return the ratio of two colours' luminances as WCAG 2 defines it."""
    darker, lighter = sorted(luminance(colour) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return float(np.array([0.2126, 0.7152, 0.0722]) @ linear)


def test_texts_of_charts_have_the_themes_strongest_grey_which_can_be_read() -> None:
    assert TEXT == GRAY_90
    assert contrast("#262730", "#FFFFFF") > AA
    assert contrast("#FAFAFA", "#191919") > AA
    for path in Path(charts.__file__).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert "go.Figure(" not in source or "return framed(" in source, path


def test_every_text_of_a_figure_has_that_colour() -> None:
    figure = framed(go.Figure([go.Heatmap(z=[[1]], colorbar=colour_bar("t", None, percent=False)), go.Scatter(x=[1])]))
    layout = figure.layout
    fonts = [layout.font, layout.legend.font, layout.hoverlabel.font, figure.data[0].colorbar.tickfont]
    fonts += [figure.data[0].colorbar.title.font]
    fonts += [font for axis in (layout.xaxis, layout.yaxis) for font in (axis.tickfont, axis.title.font)]
    assert {font.color for font in fonts} == {TEXT}


def test_every_chart_of_the_app_has_a_text_in_its_place() -> None:
    for path in Path(app.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "plotly_chart":
                assert any(keyword.arg == "alt" for keyword in node.keywords), f"{path}:{node.lineno}"
