"""The export on Allocation: what it submits, what it refuses, and what it shows at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.services import allocation
from app.services.home import export_folder
from app.services.jobs import submit
from engine.errors import ExportError, InvalidSpecError
from engine.export.specs import ExportFormat, ExportSpec
from engine.export.weights import stored_bytes
from engine.export.writers import writer_of
from engine.jobs import JobQueue
from engine.operations import Export
from engine.pipeline.opened import OpenedAnalysis, reopen_folder
from engine.progress import ignore_progress
from engine.results.words import megabytes
from engine.settings import Home
from engine.types import Budget
from tests.support.terminal import run_jobs_here

if TYPE_CHECKING:
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis
    from tests.app.test_views import Open


def shown_map(analysis: Analysis) -> str:
    budget = Budget.of_kept_fraction(0.8, analysis.inventory.compressible_params)
    return allocation.method_map(analysis.id, "water-filling", budget.params).rank_map.to_json()


def export(analysis: Analysis) -> Export:
    return Export(analysis=analysis.id, rank_map=shown_map(analysis), folder=str(export_folder("mine")))


def export_button(page: AppTest) -> Any:
    return next(found for found in page.button if found.label.startswith("Export "))


@pytest.mark.usefixtures("no_worker")
def test_exporting_submits_the_map_that_is_shown_and_a_folder_below_the_home(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    page = open_page("allocation", keep="0.8", method="water-filling")
    name = next(field for field in page.text_input if field.label == "Folder name")
    assert name.value.endswith("water-filling-0.80")
    name.set_value("mine").run()
    next(box for box in page.selectbox if box.label == "Number type").select("bfloat16").run()
    export_button(page).click().run()
    assert not page.exception
    (job,) = JobQueue(analysed_home).jobs()
    assert job.operation == "export"
    assert job.arguments == {
        "analysis": toy_analysis.id,
        "rank_map": shown_map(toy_analysis),
        "folder": str(analysed_home / "exports" / "mine"),
        "dtype": "bfloat16",
    }


@pytest.mark.usefixtures("no_worker")
@pytest.mark.parametrize("name", ["../up", "/etc", "a/b", "", ".hidden", "..", "a\\b", "x" * 81, "a\nb"])
def test_names_that_lead_elsewhere_are_refused(name: str, analysed_home: Path, toy_analysis: Analysis) -> None:
    with pytest.raises(InvalidSpecError, match="expected 1 to 80 letters"):
        export_folder(name)
    assert not JobQueue(analysed_home).jobs()


@pytest.mark.usefixtures("no_worker")
def test_a_taken_name_is_one_sentence_on_the_page(open_page: Open, analysed_home: Path, toy_analysis: Analysis) -> None:
    (analysed_home / "exports" / "mine").mkdir(parents=True)
    (analysed_home / "exports" / "mine" / "config.json").touch()
    with pytest.raises(ExportError, match="not empty"):
        submit(export(toy_analysis))
    page = open_page("allocation", keep="0.8", method="water-filling")
    next(field for field in page.text_input if field.label == "Folder name").set_value("mine").run()
    export_button(page).click().run()
    assert any("not empty" in error.value for error in page.error)


@pytest.mark.parametrize(
    ("method", "how", "shown", "dtype"),
    [
        ("skipcat", "factored", "float16", "float16"),
        ("skipcat", "factored", "float32", "float32"),
        ("skipcat", "dense", "float16", "bfloat16"),
        ("width", "dense", "float16", "float16"),
    ],
)
def test_an_export_is_as_large_as_the_page_says(
    method: str, how: str, shown: str, dtype: str, open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    page = open_page("allocation", keep="0.8", method=method, dtype=shown)
    assert next(box for box in page.selectbox if box.label == "Number type").value == shown
    if dtype != shown:
        next(box for box in page.selectbox if box.label == "Number type").select(dtype).run()
    next(box for box in page.get("button_group") if box.label == "Export as").set_value(how).run()
    budget = Budget.of_kept_fraction(0.8, toy_analysis.inventory.compressible_params)
    rank_map = allocation.method_map(toy_analysis.id, method, budget.params).rank_map
    folder = reopen_folder(Home(analysed_home), toy_analysis, ignore_progress)
    opened = OpenedAnalysis(Home(analysed_home), toy_analysis, folder, ignore_progress, dtype=dtype, device="cpu")
    writer = writer_of(ExportSpec(ExportFormat(how), dtype), opened.dense.inventory.mlps)
    written = writer.prepare(opened.dense.module, opened.compress(rank_map))
    assert export_button(page).label == f"Export {megabytes(stored_bytes(written))} and check"


@pytest.mark.usefixtures("analysed_home")
def test_a_graph_offers_the_types_that_it_can_have(open_page: Open) -> None:
    page = open_page("allocation", keep="0.8", method="skipcat", dtype="float16")
    next(box for box in page.get("button_group") if box.label == "Export as").set_value("onnx").run()
    types = next(box for box in page.selectbox if box.label == "Number type")
    assert [option.partition(":")[0] for option in types.options] == ["float32", "float16", "int8"]
    assert export_button(page).label.startswith("Export about ")


@pytest.mark.usefixtures("warm_starts")
def test_the_end_of_an_export_says_where_it_is_and_how_it_is_opened(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_jobs_here(monkeypatch)
    job = submit(export(toy_analysis).changed(format="dense"))
    found = JobQueue(analysed_home).wait(job.id).result
    assert isinstance(found, dict)
    page = open_page("allocation", keep="0.8", method="water-filling", job=job.id)
    assert not page.exception
    assert any("no smaller" in caption.value and "differ by at most" in caption.value for caption in page.caption)
    assert any(block.value == "\n".join(found["load"]) for block in page.code)
    assert str(analysed_home / "exports" / "mine") in found["load"][-1]
