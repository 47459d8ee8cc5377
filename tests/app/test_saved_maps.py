"""Saved maps on the Allocation page: kept under names, open by link, and nothing lost by a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.costed_maps import CostedMap
from app.services import allocation, playground
from app.services import maps as saved_maps
from engine.jobs import JobQueue
from engine.rank_map.document import RankMap, parse_rank_map
from engine.rank_map.drafts import MapRequest
from engine.rank_map.files import named_maps
from engine.rank_map.named import NamedMap
from engine.rank_map.table import rank_map_to_csv
from engine.types import Budget
from tests.app.conftest import sent_to_browser
from tests.app.test_views import button, in_tab, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

    Open = Callable[..., AppTest]

pytestmark = pytest.mark.usefixtures("analysed_home")


def query(page: AppTest) -> dict[str, str]:
    return {name: page.query_params[name] for name in page.query_params}


def active_method(page: AppTest) -> str:
    value = page.query_params["method"]
    return value if isinstance(value, str) else value[0]


def names(analysis: Analysis) -> list[str]:
    return [m.name for m in named_maps(analysis).all() if isinstance(m, NamedMap)]


def map_measured(page: AppTest, home: Path) -> RankMap:
    """Return the map that the page hands to a job."""
    button(page, "Compress and measure").click().run()
    job, *_ = JobQueue(home).jobs()
    return parse_rank_map(job.arguments["rank_maps"][0].encode())


def a_map(analysis: Analysis, method: str = "flrc", kept: float = 0.6) -> CostedMap:
    return allocation.method_map(
        analysis.id, method, Budget.of_kept_fraction(kept, analysis.inventory.compressible_params).params
    )


def save_in(page: AppTest, name: str) -> AppTest:
    page = in_tab(page, "Saved maps")
    page.text_input(key="maps.name.0").set_value(name)
    return button(page, "Save").click().run()


def test_the_map_shown_is_saved_opened_by_link_and_closed(open_page: Open, toy_analysis: Analysis) -> None:
    page = save_in(open_page("allocation", keep="0.6", method="FLRC"), "by hand")
    assert not page.exception
    assert not page.error
    (saved,) = saved_maps.all_saved(toy_analysis.id)
    assert isinstance(saved, NamedMap)
    assert saved.rank_map == a_map(toy_analysis).rank_map
    page = button(page, "Open map").click().run()
    assert not page.error
    assert active_method(page) == "saved map"
    link = query(page)
    assert link["map"] == saved.id
    reloaded = open_page("allocation", **link)
    assert not reloaded.error
    assert active_method(reloaded) == "saved map"
    assert query(reloaded) == link
    assert float(reloaded.query_params["keep"]) == 0.6
    titles = {method["name"]: method["title"] for method in sent_to_browser(reloaded, "curves")["methods"]}
    assert titles["saved map"] == "by hand"
    # A link with nothing but the map shows it, too.
    short = open_page("allocation", map=saved.id)
    assert active_method(short) == "saved map"
    closed = button(in_tab(reloaded, "Saved maps"), "Close map").click().run()
    assert not closed.error
    assert "map" not in closed.query_params
    assert active_method(closed) == "water-filling"


def test_a_link_survives_other_pages(open_page: Open, toy_analysis: Analysis) -> None:
    saved = saved_maps.save_map(toy_analysis.id, "one", a_map(toy_analysis).rank_map)
    assert query(open_page("spectra", map=saved.id))["map"] == saved.id


def test_a_measurement_uses_the_open_map(open_page: Open, toy_analysis: Analysis, home: Path, no_worker: None) -> None:
    saved = saved_maps.save_map(toy_analysis.id, "one", a_map(toy_analysis).rank_map)
    assert map_measured(open_page("allocation", map=saved.id), home) == saved.rank_map


def test_maps_are_renamed_duplicated_and_deleted_after_a_question(open_page: Open, toy_analysis: Analysis) -> None:
    saved = saved_maps.save_map(toy_analysis.id, "one", a_map(toy_analysis).rank_map)
    page = open_page("allocation", map=saved.id, tab="Saved maps")
    page.text_input(key=f"maps.rename.{saved.id}.one").set_value("two")
    page = button(page, "Rename it").click().run()
    assert names(toy_analysis) == ["two"]
    assert query(page)["map"] == saved.id
    page = button(page, "Duplicate").click().run()
    assert names(toy_analysis) == ["two", "two 2"]
    copy = next(m for m in saved_maps.all_saved(toy_analysis.id) if m.id != saved.id)
    assert page.selectbox(key="maps.chosen").value == copy.id
    page = page.selectbox(key="maps.chosen").set_value(saved.id).run()
    page = page.button(key=f"maps.delete.{saved.id}").click().run()
    assert names(toy_analysis) == ["two 2"]
    assert not page.error
    assert "map" not in page.query_params
    assert active_method(page) == "water-filling"


def test_a_name_that_is_taken_or_empty_is_a_sentence(open_page: Open, toy_analysis: Analysis) -> None:
    saved_maps.save_map(toy_analysis.id, "One", a_map(toy_analysis).rank_map)
    page = save_in(open_page("allocation"), "one")
    assert "There is a saved map 'One' already" in page.error[0].value.replace("\\", "")
    assert "The name is empty" in save_in(page, " ").error[0].value
    assert names(toy_analysis) == ["One"]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_an_imported_file_is_saved_and_open_at_once(open_page: Open, toy_analysis: Analysis, kind: str) -> None:
    rank_map = a_map(toy_analysis).rank_map
    text = rank_map.to_json() if kind == "json" else rank_map_to_csv(rank_map, toy_analysis.inventory)
    page = open_page("allocation", tab="Saved maps")
    file = (f"..\\my map.{kind}", text.encode(), "text/plain")
    page = page.file_uploader(key="maps.import.0").set_value(file).run()
    assert not page.exception
    assert not page.error
    (saved,) = saved_maps.all_saved(toy_analysis.id)
    assert isinstance(saved, NamedMap)
    assert (saved.name, saved.rank_map.blocks, saved.rank_map.metric) == ("my map", rank_map.blocks, rank_map.metric)
    assert active_method(open_page("allocation", **query(page))) == "saved map"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.json", b"{", "The rank map is not JSON"),
        ("x.csv", b"projection,format,rank\nlayers.9,skip,3\n", "Line 2 of the table has the projection 'layers.9'"),
        ("x.csv", b"a;b\n", "Line 1 of the table has the columns"),
    ],
)
def test_a_file_that_is_no_map_is_a_sentence(
    open_page: Open, toy_analysis: Analysis, name: str, content: bytes, sentence: str
) -> None:
    page = open_page("allocation", tab="Saved maps")
    page = page.file_uploader(key="maps.import.0").set_value((name, content, "text/plain")).run()
    assert not page.exception
    assert sentence in page.error[0].value.replace("\\", "")
    assert names(toy_analysis) == []


def test_a_map_that_is_gone_or_damaged_is_closed_with_a_sentence(
    open_page: Open, toy_analysis: Analysis, home: Path
) -> None:
    page = open_page("allocation", map="0" * 16, method="saved map")
    assert not page.exception
    assert "There is no saved map with the id" in page.error[0].value
    assert "map" not in page.query_params
    assert not page.run().error
    saved = saved_maps.save_map(toy_analysis.id, "one", a_map(toy_analysis).rank_map)
    saved_maps.save_map(toy_analysis.id, "two", a_map(toy_analysis).rank_map)
    (path,) = (home / "maps").rglob(f"{saved.id}.json")
    path.write_bytes(path.read_bytes()[:-9])
    page = open_page("allocation", map=saved.id, tab="Saved maps")
    assert "is damaged" in page.error[0].value
    page = page.selectbox(key="maps.chosen").set_value(saved.id).run()
    page = page.button(key=f"maps.delete.{saved.id}").click().run()
    assert not page.error
    assert names(toy_analysis) == ["two"]
    assert not open_page("allocation", map="../../etc").exception


def test_held_ranks_survive_a_reload_and_a_release(open_page: Open, toy_analysis: Analysis) -> None:
    first = next(iter(toy_analysis.projections))
    page = open_page("allocation", {f"held.{toy_analysis.id}": {first: 5}}, tab="Heatmap & table")
    assert button(page, "Release 1 held rank")
    link = query(page)
    reloaded = open_page("allocation", **link)
    assert not reloaded.exception
    assert query(reloaded)["held"] == link["held"]
    table = reloaded.dataframe
    assert table
    released = button(reloaded, "Release 1 held rank").click().run()
    assert "held" not in released.query_params
    # On another page the link stays whole, so that a reload there loses nothing either.
    assert query(open_page("spectra", **link))["held"] == link["held"]
    page = open_page("allocation", held="0" * 16)
    assert "no longer on this machine" in page.warning[0].value
    assert not page.run().warning


def test_a_map_edited_without_rebalancing_survives_a_reload_and_answers_on_the_playground(
    open_page: Open, toy_analysis: Analysis, home: Path, no_worker: None
) -> None:
    first = next(iter(toy_analysis.projections))
    held = {f"held.{toy_analysis.id}": {first: 3}}
    base = {f"board.{toy_analysis.id[:12]}.base": MapRequest(0.8, None, ())}
    page = open_page("allocation", held | base, keep="0.8", method="flrc")
    link = query(page)
    assert "held" in link
    edited = map_measured(page, home)
    assert {b.rank for b in edited.blocks if first in b.members} == {3}
    assert edited.budget_params is None
    reloaded = open_page("allocation", **link)
    assert query(reloaded)["held"] == link["held"]
    assert map_measured(reloaded, home) == edited
    rebalanced = open_page("allocation", held, keep="0.8", method="flrc")
    assert map_measured(rebalanced, home) != edited
    asked = button(open_page("playground", **link, tokens="2"), "Answer").click().run()
    found = playground.playground().answer(query(asked)["answer"])
    assert parse_rank_map(found.question.compressed.rank_map.encode()) == edited
    playground.playground().stop(query(asked)["answer"])
    overview = open_page("overview", **link)
    assert "edited by hand" in sent_to_browser(overview, "lines")["edited"]["title"]
    # A budget that is chosen elsewhere makes every map anew, around what is held.
    assert sent_to_browser(overview.button(key="recommended").click().run(), "lines")["edited"] is None


def test_a_saved_map_opens_as_it_was_saved_and_changes_by_hand(
    open_page: Open, toy_analysis: Analysis, home: Path, no_worker: None
) -> None:
    saved = saved_maps.save_map(toy_analysis.id, "one", a_map(toy_analysis).rank_map)
    first = next(iter(toy_analysis.projections))
    page = open_page("allocation", {f"held.{toy_analysis.id}": {first: 3}}, tab="Saved maps")
    page = button(page, "Open map").click().run()
    assert not page.error
    assert "held" not in page.query_params
    assert map_measured(in_tab(page, "Measure & export"), home) == saved.rank_map
    changed = map_measured(open_page("allocation", {f"held.{toy_analysis.id}": {first: 3}}, map=saved.id), home)
    assert {b.rank for b in changed.blocks if first in b.members} == {3}


def test_an_older_url_never_undoes_an_edit(open_page: Open, toy_analysis: Analysis) -> None:
    first, second, *_ = toy_analysis.projections
    page = open_page("allocation", {f"held.{toy_analysis.id}": {first: 5}}, tab="Heatmap & table")
    older = query(page)["held"]
    page.session_state[f"held.{toy_analysis.id}"] = {first: 5, second: 6}
    page.session_state[f"held.base.{toy_analysis.id}"] = {first: 5, second: 6}
    page = page.run()
    assert query(page)["held"] != older
    page.query_params["held"] = older
    page = page.run()
    assert button(page, "Release 2 held ranks")
    assert query(page)["held"] != older


def test_the_difference_to_another_map_is_a_table(open_page: Open, toy_analysis: Analysis) -> None:
    saved = saved_maps.save_map(toy_analysis.id, "one", a_map(toy_analysis).rank_map)
    page = open_page("allocation", keep="0.6", method="FLRC", tab="Compare methods")
    page = page.selectbox(key="difference.other").set_value("svd-llm").run()
    assert not page.exception
    assert f"of {len(toy_analysis.projections)} projections differ" in shown(page)
    (table,) = [t.value for t in page.dataframe if "gained" in t.value.columns]
    assert table["gained"].sum() == a_map(toy_analysis).cost.params - a_map(toy_analysis, "svd-llm").cost.params
    # The other method becomes the active one: what is compared stays chosen, for the way back.
    page.query_params["method"] = "svd-llm"
    page = page.run()
    assert not page.exception
    assert f"0 of {len(toy_analysis.projections)}" in shown(page)
    assert page.selectbox(key="difference.other").value == "svd-llm"
    page.query_params["method"] = "flrc"
    page = page.run()
    page = page.selectbox(key="difference.other").set_value(saved.id).run()
    assert "0 of" in shown(page)
    # The board goes on comparing while another tab is open, and the choice is there on the way back.
    page = in_tab(page, "Saved maps")
    assert sent_to_browser(page, "curves")["state"]["compare"] == saved.id
    assert in_tab(page, "Compare methods").selectbox(key="difference.other").value == saved.id
