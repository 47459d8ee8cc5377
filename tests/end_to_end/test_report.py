"""``rankscope report`` on what was measured, on what was not, and on what does not fit."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from engine.pipeline.reading.results import results
from engine.pipeline.report import report_content
from engine.rank_map.document import RankMap
from engine.report import render_report
from tests.support.terminal import Terminal


@pytest.fixture
def terminal(tmp_path, measured_toy):
    shutil.copytree(measured_toy.home / "artifacts", tmp_path / "home" / "artifacts")
    return Terminal(tmp_path / "home")


def words_of(page):
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_a_measured_map_is_reported_with_its_numbers(terminal, measured_toy, tmp_path):
    analysis = measured_toy.analysis.id
    path, out = tmp_path / "map.json", tmp_path / "shared.html"
    path.write_text(measured_toy.maps[0].to_json())
    told = terminal.json("report", analysis[:12], path, out)
    row = results(measured_toy.store, analysis)[1]
    page = out.read_text(encoding="utf-8")
    assert told["bytes"] == len(page.encode()) < 5_000_000
    assert told["measured"] is True
    assert told["perplexity_ratios"] == {"corpus.txt": row.perplexities[0].ratio}
    shown = words_of(page)
    assert f"{row.perplexities[0].perplexity:.2f}" in shown
    assert f"{row.perplexities[0].ratio:.3f} ×" in shown
    for task in row.tasks:
        assert f"{100 * task.acc.value:.1f} %" in shown
        assert task.provenance.artifact[: len("task-scores/") + 12] in shown
    assert f"{row.costs[0].decode_multiply_adds:,.0f}" in shown
    assert f"{row.costs[0].speeds[0].decode_ratio.median:.2f} ×" in shown
    assert row.perplexities[0].provenance.model_fingerprint in page
    assert " ×" not in page, "a line could end before the sign"
    assert "has not been measured yet" not in shown
    assert "No weight was trained" in shown


def test_a_saved_map_without_measurements_is_predicted_and_says_so(terminal, measured_toy, tmp_path):
    analysis = measured_toy.analysis.id[:12]
    path, out = tmp_path / "map.csv", tmp_path / "new.html"
    terminal("allocate", analysis, "--method", "water-filling", "--keep", 0.5, "--out", tmp_path / "map.json")
    terminal("maps", "save", analysis, tmp_path / "map.json", "half")
    terminal("maps", "export", analysis, "half", path)
    told = terminal.json("report", analysis, "@half", out)
    assert told["measured"] is False
    assert told["prediction_text"] == "corpus.txt (calibration text)"
    assert "This model has not been measured yet" in words_of(out.read_text())
    assert "predictions" in terminal("report", analysis, path, out).stdout


def test_what_cannot_be_reported_is_one_sentence(terminal, measured_toy, tmp_path):
    analysis = measured_toy.analysis.id[:12]
    other = tmp_path / "other.json"
    document = json.loads(measured_toy.maps[0].to_json())
    document["model"]["fingerprint"] = "0" * 64
    other.write_text(json.dumps(document))
    assert "is for the model" in terminal.error("report", analysis, other, tmp_path / "x.html")
    assert "There is no rank map" in terminal.error("report", analysis, tmp_path / "none.json", tmp_path / "x.html")
    assert "ends in .html" in terminal.error("report", analysis, other, tmp_path / "x.pdf")
    assert "No analysis starts" in terminal.error("report", "ffff", other, tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_text_from_outside_is_escaped_everywhere(measured_toy):
    hostile = "<b onmouseover=x>'\"&"
    found = measured_toy.maps[0]
    named = RankMap(hostile, found.model_fingerprint, None, hostile, found.metric, None, found.blocks)
    page = render_report(report_content(measured_toy.store, measured_toy.analysis.id, named))
    assert "<b onmouseover" not in page
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b onmouseover=x&gt;" in page
