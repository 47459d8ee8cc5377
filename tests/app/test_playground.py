"""The Playground page: a first visit, an answer, and what a visitor may get wrong."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import pytest
import streamlit as st

from app.services import allocation, playground
from app.services import maps as saved_maps
from app.services.prompts import PROMPTS, summaries_of
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.generate import GenerationSession
from engine.pipeline.refine import refine
from engine.playground import AnswerStatus, MapChoice
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import RefinementSpec
from engine.types import Budget
from tests.app.test_comparing_and_refining import text
from tests.app.test_views import button, shown
from tests.engine.playground.conftest import hosts, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis
    from tests.app.test_views import Open

pytestmark = pytest.mark.usefixtures("warm_starts")


@pytest.fixture(scope="module")
def one_home(toy_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of this module, so that its tests share one process with the models."""
    home: Path = tmp_path_factory.mktemp("playground")
    shutil.copytree(toy_home / "artifacts", home / "artifacts")
    return home


@pytest.fixture
def home(one_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RANKSCOPE_HOME", str(one_home))
    return one_home


@pytest.fixture
def analysed_home(home: Path) -> Path:
    return home


@pytest.fixture(scope="module", autouse=True)
def _one_playground() -> Iterator[None]:
    yield
    st.cache_resource.clear()


@pytest.fixture(autouse=True)
def _empty_caches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what the dashboard has read, but not its playground."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    yield
    st.cache_data.clear()


def html(page: AppTest) -> str:
    return "\n".join(e.proto.body for e in page.get("html"))


def answered(page: AppTest) -> AppTest:
    """Press Answer, and look until it is complete."""
    button(page, "Answer").click()
    page.run()
    answer_id = page.query_params["answer"]
    until(lambda: playground.playground().answer(answer_id).status.is_final)
    return page.run()


def test_a_first_visit_finds_a_prompt_and_one_button(open_page: Open, analysed_home: Path) -> None:
    st.cache_resource.clear()
    page = open_page("playground")
    assert not page.exception
    assert page.text_area[0].value == next(iter(PROMPTS.values())).text
    assert button(page, "Answer").proto.type == "primary"
    assert not button(page, "Answer").disabled
    assert button(page, "Stop").disabled
    assert "No question asked yet" in shown(page)
    # Opening the page loads no model.
    assert not hosts(analysed_home)


def test_an_empty_prompt_is_one_sentence_and_starts_nothing(open_page: Open, analysed_home: Path) -> None:
    st.cache_resource.clear()
    page = open_page("playground")
    page.text_area[0].set_value("  ")
    button(page, "Answer").click()
    page.run()
    assert [e.value for e in page.error] == ["The prompt is empty; give some text to continue\\."]
    assert not hosts(analysed_home)


def test_both_answers_are_shown_and_survive_a_reload(open_page: Open, analysed_home: Path) -> None:
    page = answered(open_page("playground", tokens="8", keep="0.5"))
    assert not page.exception
    assert not page.error
    assert "Done." in shown(page)
    answer_id = page.query_params["answer"]
    found = playground.playground().answer(answer_id)
    assert found.status is AnswerStatus.DONE
    assert found.question.title.startswith("Water-filling, ")
    assert found.compressed.active_params[0] <= 0.5 * found.compressible_params
    assert found.question.prompt == page.text_area[0].value
    before = html(page)
    assert "100.0 %" in before
    again = open_page("playground", tokens="8", keep="0.5", answer=answer_id)
    assert html(again) == before
    assert button(again, "Stop").disabled


def test_a_prompt_that_is_too_long_is_one_sentence(open_page: Open, analysed_home: Path) -> None:
    page = open_page("playground", tokens="2000")
    page.text_area[0].set_value("a very long prompt " * 20)
    page = answered(page)
    (error,) = page.error
    assert "2,048 positions" in error.value


def test_a_method_without_a_map_is_one_sentence_and_cannot_answer(open_page: Open, analysed_home: Path) -> None:
    page = open_page("playground", method="Bolaco", keep="0.1")
    assert len(page.error) == 1
    assert button(page, "Answer").disabled


def test_an_open_map_answers(open_page: Open, analysed_home: Path, toy_analysis: Analysis) -> None:
    budget = Budget.of_kept_fraction(0.7, toy_analysis.inventory.compressible_params)
    rank_map = allocation.method_map(toy_analysis.id, "svd-llm", budget.params).rank_map
    saved = saved_maps.save_map(toy_analysis.id, "Mine", rank_map)
    page = answered(open_page("playground", map=saved.id, tokens="4"))
    found = playground.playground().answer(page.query_params["answer"])
    assert found.question.title.startswith("saved map, ")
    assert found.question.compressed == MapChoice(rank_map.to_json())


def test_refined_factors_answer_where_there_are_some(
    open_page: Open, analysed_home: Path, toy_home: Path, toy_analysis: Analysis
) -> None:
    home = Home(analysed_home)
    budget = Budget.of_kept_fraction(0.8, toy_analysis.inventory.compressible_params)
    rank_map = allocation.method_map(toy_analysis.id, "water-filling", budget.params).rank_map
    spec = RefinementSpec(compute_dtype="float32")
    key = refine(home, toy_analysis.id, rank_map, spec, ignore_progress, device="cpu")
    session = EvaluationSession(home, toy_analysis.id, text(toy_home, 4), ignore_progress, device="cpu")
    session.measure(rank_map, ignore_progress, key)
    assert not open_page("playground", keep="0.7").get("button_group")
    page = open_page("playground", keep="0.8", tokens="6")
    page.button_group(key="factors").set_value(key.fingerprint).run()
    page = answered(page)
    found = playground.playground().answer(page.query_params["answer"])
    assert found.question.compressed == MapChoice(rank_map.to_json(), key.fingerprint)
    generating = GenerationSession(home, toy_analysis.id, ignore_progress)
    asked = found.question
    prompt = generating.encode(asked.prompt, asked.spec, chat=asked.chat)
    expected = generating.complete(generating.compressed(rank_map, key), prompt, asked.spec)
    assert found.compressed.text == expected.text


def test_progressive_decoding_draws_what_ran_for_each_token(open_page: Open, analysed_home: Path) -> None:
    page = answered(open_page("playground", progressive="true", start="90", end="50", tokens="8"))
    assert not page.exception
    assert not page.error
    assert len(page.get("plotly_chart")) == 1
    (table,) = (frame.value for frame in page.dataframe if "budget" in frame.value)
    assert list(table["first"]) == [1, 3, 5, 7]
    assert list(table["budget"].round(1)) == [90.0, 76.7, 63.3, 50.0]
    reached = table["active"].dropna()
    assert len(reached) > 0
    assert (reached <= table["budget"][: len(reached)]).all()


def test_a_schedule_and_its_mean_held_constant_answer_at_once(open_page: Open, analysed_home: Path) -> None:
    page = open_page("playground", progressive="true", start="90", end="50", tokens="8", beside="true")
    assert "Dense model" not in shown(page)  # before anything is asked
    page = answered(page)
    assert not page.exception
    assert not page.error
    assert "Compressed: FLRC, constant 70.0 %" in shown(page).replace("\\", "")
    assert "Dense model" not in shown(page)
    found = playground.playground().answer(page.query_params["answer"])
    assert found.status is AnswerStatus.DONE
    assert len(set(found.dense.active_params)) == 1
    assert found.dense.active_params[0] <= 0.7 * found.compressible_params
    page.button_group(key="schedule").set_value("constant").run()
    assert "beside" not in {toggle.key for toggle in page.toggle}  # it is the constant budget itself


@pytest.mark.parametrize("named", ["Constant", "Constant, same mean"])
def test_a_schedule_is_compared_with_its_mean_held_constant(open_page: Open, analysed_home: Path, named: str) -> None:
    query = {"progressive": "true", "start": "90", "end": "50", "schedule": named, "tokens": "8"}
    page = answered(open_page("playground", **query))
    assert not page.exception
    found = playground.playground().answer(page.query_params["answer"])
    assert "constant 70.0 %" in found.question.title
    (active,) = set(found.compressed.active_params)
    assert active <= 0.7 * found.compressible_params


def test_a_schedule_that_goes_up_is_one_sentence(open_page: Open, analysed_home: Path) -> None:
    page = open_page("playground", progressive="true", start="50", end="90")
    assert len(page.error) == 1
    assert "ranks never grow" in page.error[0].value
    assert button(page, "Answer").disabled


def test_articles_become_prompts(tmp_path: Path) -> None:
    path = tmp_path / "articles.jsonl"
    path.write_text('{"document": "Too short."}\n{"document": "%s"}\n' % ("word " * 100), encoding="utf-8")
    ((title, prompt),) = summaries_of(path).items()
    assert title.startswith("Summarise: word")
    assert prompt.text.startswith("word word")
    assert prompt.is_question
