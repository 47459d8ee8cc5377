"""Analyses are renamed and deleted where storage is shown, and nothing goes that is needed elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from app.services import maps as saved_maps
from app.services import measurements, stored_analyses
from engine.jobs import JobQueue
from engine.pipeline.analyse import analyse
from engine.pipeline.portable import import_analysis
from engine.pipeline.reading.analyses import analysis_spec, load_analysis
from engine.pipeline.reading.results import results
from engine.pipeline.removal import used_alone
from engine.settings import Home
from engine.types import Metric
from tests.app.conftest import _silent as silent
from tests.app.test_views import button, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

    Open = Callable[..., AppTest]

OPEN = {"model.storage": True}


def test_a_name_stands_before_model_and_text_until_it_is_taken_away(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    page = open_page("model", OPEN)
    described = page.selectbox[0].options[0]
    for name, label in (("mine", f"mine: {described}"), ("", described)):
        next(one for one in page.text_input if one.label.startswith("Name, shown")).set_value(name)
        page = button(page, "Rename it").click().run()
        assert not page.exception
        assert page.selectbox[0].options[0] == label


def test_analyses_of_one_model_and_text_say_when_they_were_made(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    analyse(Home(analysed_home), replace(analysis_spec(toy_analysis), damping=1e-5), silent)
    page = open_page("model")
    assert not page.exception
    assert len(page.selectbox[0].options) == 2
    for label in page.selectbox[0].options:
        assert re.search(r"64 tokens, \d\d \w{3} \d{4}, \d\d:\d\d \([0-9a-f]{8}\)$", label)


def test_a_deleted_analysis_leaves_maps_and_measurements_and_can_be_made_again(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    home = Home(analysed_home)
    rows = results(home.store, toy_analysis.id)
    assert rows[1].rank_map is not None
    saved_maps.save_map(toy_analysis.id, "mine", rows[1].rank_map)
    stay = {key for key in home.store.keys() if key.stage not in {"analysis", "factors"}}  # noqa: SIM118
    page = open_page("model", OPEN)
    assert "Saved maps, exports, measurements and the statistics stay" in shown(page)
    page = page.button(key=f"storage.delete.{toy_analysis.id}").click().run()
    assert not page.exception
    assert not page.error
    assert set(home.store.keys()) == stay
    again = analyse(home, analysis_spec(toy_analysis), silent)
    assert again.fingerprint == toy_analysis.id
    assert results(home.store, again.fingerprint) == rows
    assert [saved.name for saved in saved_maps.all_saved(again.fingerprint)] == ["mine"]
    assert len(measurements.result_rows(again.fingerprint)) == len(rows)


def test_factors_of_another_analysis_stay(analysed_home: Path, toy_analysis: Analysis) -> None:
    home = Home(analysed_home)
    fewer = replace(analysis_spec(toy_analysis), metrics=(Metric.INPUT,))
    other = analyse(home, fewer, silent)
    shared = {
        key for of_metric in load_analysis(home.store, other.fingerprint).about["factors"].values() for key in of_metric
    }
    alone = {key.fingerprint for key in used_alone(home.store, [toy_analysis.id])}
    assert not alone & shared
    assert [key.stage for key in used_alone(home.store, [other.fingerprint])] == ["analysis"]
    together = {key.fingerprint for key in used_alone(home.store, [toy_analysis.id, other.fingerprint])}
    assert shared < together


def test_an_analysis_in_use_is_not_deleted(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, no_worker: None
) -> None:
    JobQueue(analysed_home).submit("sensitivity", {"analysis": toy_analysis.id}, title="A measurement")
    page = open_page("model", OPEN)
    page = page.button(key=f"storage.delete.{toy_analysis.id}").click().run()
    assert "may use this analysis" in page.error[0].value
    assert load_analysis(Home(analysed_home).store, toy_analysis.id).id == toy_analysis.id


def test_an_analysis_can_be_taken_to_another_machine(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, tmp_path: Path
) -> None:
    page = open_page("model", OPEN)
    assert any(one.proto.label == "Download" for one in page.get("download_button"))
    (tmp_path / "analysis.tar").write_bytes(stored_analyses.archive(stored_analyses.stored_analyses()[0].heading))
    store = Home(tmp_path / "laptop").store
    assert import_analysis(store, tmp_path / "analysis.tar")[0] == toy_analysis.id
    assert results(store, toy_analysis.id) == results(Home(analysed_home).store, toy_analysis.id)


def test_what_is_stored_is_named_in_words(open_page: Open, analysed_home: Path) -> None:
    shown = open_page("model", OPEN).dataframe
    kinds = next(set(frame.value["What"]) for frame in shown if "Items" in frame.value)
    assert {"Factors that maps are cut from", "Measured perplexities", "Losses of single tokens"} <= kinds
    assert not kinds & {"factors", "evaluation", "reference", "statistics"}
