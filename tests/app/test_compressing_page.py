"""The whole way to a size on Allocation: what it submits, and what it says at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.jobs import JobQueue
from engine.results.words import percent, ratio
from tests.support.terminal import run_jobs_here

if TYPE_CHECKING:
    from pathlib import Path

    from engine.analysis.value import Analysis
    from tests.app.test_views import Open


@pytest.mark.usefixtures("warm_starts")
def test_one_click_leads_to_an_exported_model_measured_beside_the_original(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_jobs_here(monkeypatch)
    page = open_page("allocation", keep="0.8", method="water-filling")
    button = page.button(key="compress.start")
    assert button.label == "Compress to 80.0 % and export"
    button.click().run()
    assert not page.exception
    (job,) = JobQueue(analysed_home).jobs()
    assert job.operation == "compress"
    assert job.arguments["analysis"] == toy_analysis.id
    assert job.arguments["keep"] == pytest.approx(0.8)
    made = job.result
    assert isinstance(made, dict)
    (found,) = made["perplexities"]
    times = ratio(found["perplexity"] / found["dense_perplexity"])
    said = next(caption.value for caption in page.caption if "that of the original" in caption.value)
    assert said.startswith(f"{percent(made['kept_fraction'])} kept: perplexity {times} that of the original on ")
    assert any(block.value == "\n".join(made["exported"]["load"]) for block in page.code)
    jobs_page = open_page("jobs")
    (link,) = [one.proto for one in jobs_page.get("page_link") if one.proto.label == "Show the model"]
    assert link.page == "allocation"
    assert f"job={job.id}" in link.query_string


@pytest.mark.usefixtures("analysed_home")
def test_the_whole_model_is_no_size_to_compress_to(open_page: Open) -> None:
    page = open_page("allocation", keep="1", method="water-filling")
    assert not page.exception
    assert not page.error
    assert "compress.start" not in [button.key for button in page.button]
