"""Exports are renamed and deleted where storage is shown, unless a job uses them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from app.services import stored_exports
from engine.export.outcome import ExportedModel
from engine.export.record import write_record
from engine.export.specs import ExportFormat, ExportSpec
from engine.jobs import JobQueue
from engine.pipeline.analyse import analyse
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import AnalysisSpec, CorpusSpec, ModelSpec
from engine.types import Metric
from tests.app.test_views import button

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

    Open = Callable[..., AppTest]

OPEN = {"model.storage": True}


def folder_in(home: Path, name: str) -> Path:
    folder = home / "exports" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def write_export(folder: Path, analysis: str) -> None:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(2_000_000))
    exported = ExportedModel(
        folder=str(folder),
        format=ExportFormat.FACTORED,
        dtype="float16",
        architecture="LlamaForCausalLM",
        analysis=analysis,
        model="toy",
        method="water-filling",
        metric="loss",
        refinement=None,
        kept_fraction=0.8,
        model_params=1,
        dense_params=2,
        saves_memory=True,
        weight_bytes=2_000_000,
        predicted_weight_bytes=2_000_000,
        dense_weight_bytes=3_000_000,
        folder_bytes=2_000_000,
        max_logit_difference=0.0,
        largest_logit=1.0,
        n_verified_tokens=8,
        n_measurements=0,
        load=(),
        seconds=1.0,
    )
    write_record(folder, ExportSpec(), exported)


@pytest.mark.usefixtures("no_worker")
def test_exports_say_what_they_are_and_are_renamed_and_deleted(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, tmp_path: Path
) -> None:
    elsewhere, mine = tmp_path / "elsewhere", analysed_home / "exports" / "mine"
    for folder in (elsewhere, mine):
        write_export(folder, toy_analysis.id)
    queue = JobQueue(analysed_home)
    queue.cancel(queue.submit("export", {"folder": str(elsewhere)}, title="Export").id)
    page = open_page("model", OPEN)
    table = next(frame.value for frame in page.dataframe if "Export" in frame.value)
    assert set(table["Export"]) == {"mine", str(elsewhere)}
    assert set(table["What"]) == {"toy: Water-filling, 80.0 % kept; factored, float16"}
    assert list(table["MB"]) == pytest.approx([2.0, 2.0], abs=0.01)
    page.selectbox(key="storage.export").select("mine").run()
    next(field for field in page.text_input if field.label == "Name of the folder").set_value("better")
    page = button(page, "Rename the folder").click().run()
    assert not page.exception
    assert not page.error
    renamed = mine.with_name("better")
    assert (renamed / "export.json").is_file()
    assert not mine.exists()
    for _ in range(2):
        page = page.button(key=f"storage.export-delete.{page.selectbox(key='storage.export').value}").click().run()
        assert not page.error
    assert not elsewhere.exists()
    assert list(renamed.parent.iterdir()) == []


def test_an_export_that_a_job_uses_stays(open_page: Open, analysed_home: Path, no_worker: None) -> None:
    folder = folder_in(analysed_home, "mine")
    JobQueue(analysed_home).submit("analyse", {"model": str(folder / "config.json")}, title="Analyse mine")
    page = open_page("model", OPEN)
    page = page.button(key=f"storage.export-delete.{folder}").click().run()
    assert "Analyse mine" in page.error[0].value
    assert "uses this export" in page.error[0].value
    assert folder.is_dir()


@pytest.mark.parametrize(("name", "why"), [("taken", "not empty"), ("../up", "expected 1 to 80 letters")])
def test_a_name_that_cannot_be_used_is_one_sentence(name: str, why: str, open_page: Open, analysed_home: Path) -> None:
    folder_in(analysed_home, "taken")
    folder = folder_in(analysed_home, "mine")
    page = open_page("model", OPEN)
    page.selectbox(key="storage.export").select("mine").run()
    next(field for field in page.text_input if field.label == "Name of the folder").set_value(name)
    page = button(page, "Rename the folder").click().run()
    assert why in page.error[0].value.replace("\\", "")
    assert folder.is_dir()


def test_what_is_no_export_of_the_home_is_not_listed(analysed_home: Path, tmp_path: Path) -> None:
    (analysed_home / "exports").mkdir()
    (tmp_path / "private").mkdir()
    (analysed_home / "exports" / "link").symlink_to(tmp_path / "private")
    (analysed_home / "exports" / "report.html").touch()
    JobQueue(analysed_home).submit("export", {"folder": str(tmp_path / "private")}, title="Export")
    assert stored_exports.stored_exports() == []


def test_who_analysed_an_export_is_told_that_it_can_be_measured_no_more(
    open_page: Open, home: Path, toy_home: Path
) -> None:
    folder = home / "exports" / "mine"
    shutil.copytree(toy_home / "toy-model", folder)
    corpus = CorpusSpec.parse(str(toy_home / "corpus.txt"), part="calibration", n_sequences=2, length=32)
    analyse(Home(home), AnalysisSpec(ModelSpec.parse(str(folder)), corpus, metrics=(Metric.LOSS,)), ignore_progress)
    page = open_page("model", OPEN)
    assert not page.exception
    warned = [warning.value for warning in page.warning]
    assert warned == ["1 analysis of it opens its weights here, and can be measured no more until it is back."] * 2
