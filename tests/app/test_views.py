"""Every page on an empty home, on an analysis, and on damage; what its buttons submit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from app import charts, tables
from app.pages import PAGES
from app.services import allocation, searching
from cache import DirectoryStore
from engine.jobs import JobQueue, JobStatus
from engine.operations import Search
from engine.pipeline.reading.trials import evaluated_maps
from engine.pipeline.search import search
from engine.progress import ignore_progress
from engine.search.goals import Goal
from engine.search.space import SpaceSpec
from engine.search.specs import ObjectiveSpec, SearchSpec, Subset
from engine.settings import Home
from engine.specs import CorpusSpec
from engine.types import Budget

if TYPE_CHECKING:
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

Open = "Callable[..., AppTest]"


def button(page: AppTest, label: str):
    return next(b for b in page.button if b.label == label)


def in_tab(page: AppTest, title: str) -> AppTest:
    """Open one of the page's tabs."""
    page.query_params["tab"] = page.session_state["tab"] = title
    return page.run()


def shown(page: AppTest) -> str:
    return "\n".join(e.value for kind in (page.info, page.markdown, page.caption, page.success) for e in kind)


@pytest.mark.parametrize("path", PAGES)
def test_an_empty_home_says_what_to_do_next(open_page: Open, path: str) -> None:
    page = open_page(path)
    assert not page.exception
    assert not page.error
    assert page.info
    assert len(page.get("page_link")) == (path != "model")
    if path != "jobs":
        assert button(page, "Analyse the demo model").proto.type == "primary"


@pytest.mark.parametrize("path", PAGES)
def test_an_analysis_is_shown(open_page: Open, analysed_home: Path, toy_analysis: Analysis, path: str) -> None:
    page = open_page(path)
    assert not page.exception
    assert not page.error
    assert len(page.title) == 1
    assert not page.subheader, "no level of headings is left out"
    if path != "jobs":
        assert page.query_params["analysis"] == toy_analysis.id[:12]


@pytest.mark.parametrize("path", [p for p in PAGES if p != "jobs"])
def test_damage_is_one_sentence_that_names_the_way_out(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, path: str
) -> None:
    spectra = analysed_home / "artifacts" / "analysis" / toy_analysis.id / "spectra.safetensors"
    spectra.chmod(0o600)
    content = bytearray(spectra.read_bytes())
    content[len(content) // 2] ^= 0xFF
    spectra.write_bytes(content)
    page = open_page(path)
    assert not page.exception
    assert len(page.error) == 1
    assert "spectra" in page.error[0].value


@pytest.mark.parametrize("path", [p for p in PAGES if p != "jobs"])
def test_an_unknown_analysis_in_the_url_falls_back_to_the_newest(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, path: str
) -> None:
    page = open_page(path, analysis="ffff")
    assert not page.exception
    assert page.query_params["analysis"] == toy_analysis.id[:12]
    assert "Analysis ffff is no longer here" in page.warning[0].value
    page.run()
    assert page.warning


@pytest.mark.parametrize("path", [p for p in PAGES if p != "jobs"])
@pytest.mark.usefixtures("no_worker")
def test_on_an_empty_home_a_deleted_analysis_and_the_demo_are_named(open_page: Open, home: Path, path: str) -> None:
    page = open_page(path, analysis="ffff")
    assert "nothing else was analysed" in page.warning[0].value
    page = button(page, "Analyse the demo model").click().run()
    assert not page.exception
    assert not page.warning
    assert JobQueue(home).jobs()[0].operation == "analyse"


@pytest.mark.usefixtures("no_worker")
def test_the_demo_is_one_click_away_and_its_progress_survives_a_reload(open_page: Open, home: Path) -> None:
    page = button(open_page("model"), "Analyse the demo model").click().run()
    assert not page.exception
    (job,) = JobQueue(home).jobs()
    assert (job.operation, job.arguments) == ("analyse", {"measure": True})
    assert page.query_params["job"] == job.id
    for reloaded in (open_page("model"), open_page("spectra"), open_page("jobs")):
        assert "Analyse SmolLM2" in shown(reloaded).replace("\\", "")
        assert button(reloaded, "Cancel")
    assert not [b for b in open_page("model").button if b.label == "Analyse the demo model"]


@pytest.mark.usefixtures("no_worker")
def test_a_folder_and_a_text_file_are_submitted_as_typed(open_page: Open, home: Path, toy_home: Path) -> None:
    page = open_page("model")
    page.button_group(key="model.source").set_value("folder").run()
    page.text_input(key="model.folder").set_value(str(toy_home / "toy-model")).run()
    page.button_group(key="model.text.source").set_value("file").run()
    assert button(page, "Analyse").disabled
    page.text_input(key="model.text.path").set_value(str(toy_home / "corpus.txt")).run()
    page.number_input(key="model.good.n").set_value(8).run()
    page.number_input(key="model.good.length").set_value(64).run()
    page = button(page, "Analyse").click().run()
    assert not page.error
    (job,) = JobQueue(home).jobs()
    assert job.arguments == {
        "model": str(toy_home / "toy-model"),
        "text": str(toy_home / "corpus.txt"),
        "n_sequences": 8,
        "length": 64,
    }


@pytest.mark.usefixtures("no_worker")
def test_an_uploaded_text_is_kept_under_its_hash(open_page: Open, home: Path) -> None:
    page = open_page("model")
    page.button_group(key="model.text.source").set_value("upload").run()
    page.file_uploader(key="model.text.upload").set_value(
        ("../../my text.txt", b"some words " * 5000, "text/plain")
    ).run()
    assert not page.error
    page = button(page, "Analyse").click().run()
    (job,) = JobQueue(home).jobs()
    (stored,) = (home / "uploads").rglob("*.txt")
    assert job.arguments["text"] == str(stored)
    assert stored.name == "my-text.txt"
    assert stored.read_bytes() == b"some words " * 5000


@pytest.mark.usefixtures("no_worker")
def test_a_model_that_is_not_there_is_a_sentence(open_page: Open, home: Path) -> None:
    page = open_page("model")
    page.button_group(key="model.source").set_value("folder").run()
    page.text_input(key="model.folder").set_value("/no/such/folder").run()
    assert button(page, "Analyse").disabled
    assert "No model was found" in page.error[0].value
    assert JobQueue(home).jobs() == []


@pytest.mark.usefixtures("home", "no_worker")
@pytest.mark.parametrize("folder", ["a" * 300, "~nobody-of-this-name"])
def test_a_path_that_nothing_can_have_is_a_sentence(open_page: Open, folder: str) -> None:
    page = open_page("model")
    page.button_group(key="model.source").set_value("folder").run()
    page.text_input(key="model.folder").set_value(folder).run()
    assert not page.exception
    assert "cannot be used" in page.error[0].value


def test_remote_code_is_off_and_warned_about(open_page: Open) -> None:
    page = open_page("model")
    assert not page.checkbox
    page.button_group(key="model.source").set_value("hub").run()
    assert page.checkbox(key="model.trust").value is False
    assert not page.warning
    page.checkbox(key="model.trust").check().run()
    assert len(page.warning) == 1


@pytest.mark.usefixtures("no_worker")
def test_compress_and_measure_submits_the_map_that_is_shown(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    page = open_page("allocation", keep="0.55", method="FLRC")
    page = button(page, "Compress and measure").click().run()
    assert not page.error
    (job,) = JobQueue(analysed_home).jobs()
    assert job.arguments["analysis"] == toy_analysis.id
    (text,) = job.arguments["rank_maps"]
    document = json.loads(text)
    assert document["method"] == "flrc"
    assert document["budget"]["params"] == int(0.55 * toy_analysis.inventory.compressible_params)
    assert job.status is JobStatus.QUEUED


@pytest.mark.usefixtures("no_worker")
def test_a_searched_method_has_a_predicted_map_and_starts_a_search(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    page = open_page("allocation", keep="0.7", method="Bolaco")
    assert not page.error
    assert "predicted search" in shown(page)
    assert "judged by what was measured of this model" in shown(page)
    page.number_input(key="search.trials").set_value(5).run()
    page.number_input(key="search.workers").set_value(2).run()
    page = button(page, "Search at 70.0 %").click().run()
    assert not page.exception
    helper, job = JobQueue(analysed_home).jobs()
    assert (job.operation, helper.operation, helper.lead) == ("search", "search-worker", job.id)
    assert job.arguments["analysis"] == toy_analysis.id
    assert (job.arguments["target"], job.arguments["trials"]) == (0.7, 5)
    assert job.arguments["n_sequences"] == 8
    assert str(job.arguments["text"]).endswith("/corpus.txt")


def test_what_a_search_measured_is_there_at_once(open_page: Open, analysed_home: Path, toy_analysis: Analysis) -> None:
    home = Home(analysed_home)
    total = toy_analysis.inventory.compressible_params
    allocation.method_map(toy_analysis.id, "bolaco", Budget.of_kept_fraction(0.8, total).params)
    corpus = toy_analysis.about["spec"]["corpus"]
    pool = CorpusSpec.parse(corpus["location"], part="calibration", n_sequences=2, length=32)
    spec = SearchSpec(ObjectiveSpec(pool, Subset.ALL, 2), Goal.at(0.8), SpaceSpec(rank_step=2), n_trials=2)
    search(home, toy_analysis.id, spec, ignore_progress)
    measured = allocation.method_map(toy_analysis.id, "bolaco", Budget.of_kept_fraction(0.8, total).params)
    objectives = {one.blocks: one.objective for one in evaluated_maps(home.store, toy_analysis.id)}
    assert objectives[measured.rank_map.blocks] == min(objectives.values())
    page = open_page("allocation", keep="0.8", method="Bolaco")
    assert not page.error
    assert not page.exception
    assert button(page, "Compress and measure")
    assert "2 maps measured so far" in shown(page)
    trials = searching.comparable_trials(toy_analysis.id)
    table = tables.trials(trials)
    assert table["kept"].is_monotonic_increasing
    assert sorted(table["ratio"]) == sorted(t.perplexity / t.dense_perplexity for t in trials)
    best = table[table["is_best"]]
    assert (best["ratio"].diff().dropna() < 0).all()
    points, line = charts.searched_maps(table, "Bolaco", 0.8).data
    assert (len(points.x), len(line.x)) == (2, len(best))
    asked = Search(analysis=toy_analysis.id, trials=10)
    seconds = searching.expected_seconds(asked, trials, ())
    assert seconds == pytest.approx(10 * sum(sum(t.seconds.values()) for t in trials) / 2)


def test_a_measured_map_is_shown_beside_its_prediction(open_page: Open, analysed_home: Path) -> None:
    labels = [m.label for m in open_page("allocation", keep="0.8").metric]
    assert labels == ["Dense perplexity", "Predicted", "Measured", "Same top token"]
    assert "calibrated on 1 measured map." in shown(open_page("allocation", keep="0.8"))
    assert not open_page("allocation", keep="0.7").metric


def test_predictions_say_how_wide_they_are_and_what_they_rest_on(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    for path in ("overview", "allocation"):
        assert "calibrated on 2 measured maps" in shown(open_page(path, tab="Compare methods"))
    assert "calibrated on 1 measured map, never on the run itself" in shown(open_page("results"))
    store = DirectoryStore(analysed_home / "artifacts")
    for key in store.keys("evaluation"):
        store.delete(key)
    assert "no map was measured on this text yet" in shown(open_page("allocation", tab="Compare methods"))


def test_locks_that_do_not_fit_the_budget_are_a_sentence_with_a_way_back(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    held = dict.fromkeys(toy_analysis.projections, 10_000)
    page = open_page("allocation", {f"held.{toy_analysis.id}": held}, keep="0.5")
    assert not page.exception
    assert "held" in page.error[0].value
    page = button(in_tab(page, "Heatmap & table"), f"Release {len(held)} held ranks").click().run()
    assert not page.error


def test_sensitivity_shows_the_measurement_only_at_its_own_kept_fraction(open_page: Open, analysed_home: Path) -> None:
    assert not open_page("sensitivity").info
    assert "The measurement was made at 50.0 %" in open_page("sensitivity", cut="70").info[0].value


@pytest.mark.usefixtures("no_worker")
def test_jobs_can_be_cancelled_resumed_and_forgotten(open_page: Open, home: Path) -> None:
    queue = JobQueue(home)
    job = queue.submit("analyse", {}, title="Analyse [it](http://example.com)")
    page = open_page("jobs")
    assert "\\[it\\]" in shown(page)
    page = button(page, "Cancel").click().run()
    assert queue.get(job.id).status is JobStatus.CANCELLED
    page = button(page, "Resume").click().run()
    assert queue.get(job.id).status is JobStatus.QUEUED
    page = button(page, "Cancel").click().run()
    page = button(page, "Forget").click().run()
    assert queue.jobs() == []
    assert page.info


def test_an_address_with_a_budget_there_cannot_be_gets_the_nearest_with_a_word(open_page: Open, analysed_home: Path):
    for given, keep, said in (("0.02", "0.1", "smallest"), ("7", "1.0", "largest")):
        page = open_page("allocation", keep=given)
        assert page.query_params["keep"] == keep
        assert said in page.toast[0].value


def test_a_target_below_the_dense_perplexity_is_said_once(open_page: Open, analysed_home: Path):
    page = open_page("allocation", ppl="10")
    for tab, kind in (("Measure & export", "error"), ("Compare methods", "caption")):
        page = in_tab(page, tab)
        said = [text.value for text in page.get(kind) if "itself has a perplexity of" in text.value]
        assert len(said) == 1
    assert not page.exception


def test_a_rank_above_the_full_one_is_said_to_be_dense(open_page: Open, analysed_home: Path, toy_analysis: Analysis):
    first = next(iter(toy_analysis.projections))
    page = open_page("allocation", {f"held.{toy_analysis.id}": {first: 9_999}}, tab="Heatmap & table")
    assert "Held above their full rank, and so kept dense: L0 q." in shown(page)
