"""Charts for people who cannot tell all colours apart, or cannot see them: distances, symbols, dashes and texts."""

from __future__ import annotations

import ast
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import app
from app import charts
from app.views.spectra.block_choice import MOST_LINES
from engine.methods.presets import PRESETS

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


def test_every_chart_of_the_app_has_a_text_in_its_place() -> None:
    for path in Path(app.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "plotly_chart":
                assert any(keyword.arg == "alt" for keyword in node.keywords), f"{path}:{node.lineno}"
