"""A speed as the board's budget: Python makes every method's map for it, or says why there is none."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from app.services import speed
from engine.devices.value import presets
from engine.methods.time_budget import Situation
from engine.rank_map.drafts import AskedTime, Draft, Drafts, MapRequest
from engine.types import BlockRank, Format
from tests.app.conftest import sent_to_browser

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

    Open = Callable[..., AppTest]

DEVICE = "raspberry-pi-5"


@pytest.fixture
def situation() -> Situation:
    return Situation(DEVICE, presets()[DEVICE], "float16")


@pytest.mark.parametrize("context", [1024, 2048])
def test_every_method_has_a_map_that_is_as_fast_or_says_how_fast_it_can_be(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, situation: Situation, context: int
) -> None:
    situation = replace(situation, context=context)
    dense_s = situation.forecast((), toy_analysis.inventory).step_s
    page = open_page("allocation", ms=str(0.995e3 * dense_s), device=DEVICE, context=str(context))
    assert not page.exception
    sent = sent_to_browser(page, "answered")
    asked = AskedTime(0.995e3 * dense_s, DEVICE, "float16", 1, context)
    assert sent["state"]["time"] == asdict(asked)
    plans = {name: one["plan"] for name, one in sent["answered"].items() if "plan" in one}
    assert "width" in plans
    assert "water-filling" in plans
    for plan in plans.values():
        blocks = [BlockRank(tuple(b["members"]), Format(b["format"]), b["rank"]) for b in plan["blocks"]]
        assert situation.forecast(blocks, toy_analysis.inventory).step_s <= 0.995 * dense_s
    refused = [one["reason"] for one in sent["answered"].values() if "reason" in one]
    assert refused
    assert all("is predicted to take" in reason for reason in refused)
    assert sent["confirmed"]["width"]["params"] == plans["width"]["params"]


def test_a_time_replaces_a_perplexity_and_chosen_bits(open_page: Open, analysed_home: Path) -> None:
    state = sent_to_browser(open_page("allocation", ms="5", device=DEVICE, dtype="chosen", ppl="500"), "answered")[
        "state"
    ]
    assert state["target"] is None
    assert state["dtype"] == state["time"]["dtype"] == "float16"


@pytest.mark.parametrize(
    "address", [{"ms": "-1"}, {"ms": "nan"}, {"ms": "5", "batch": "0"}, {"ms": "5", "context": "-1"}, {"ms": "inf"}]
)
def test_what_is_no_time_is_left_out(open_page: Open, analysed_home: Path, address: dict[str, str]) -> None:
    assert sent_to_browser(open_page("allocation", device=DEVICE, **address), "answered")["state"]["time"] is None


def test_a_device_that_is_not_there_is_a_sentence(open_page: Open, analysed_home: Path) -> None:
    sent = sent_to_browser(open_page("allocation", ms="5", device="this-machine"), "answered")
    assert "rankscope devices --measure" in sent["answered"]["water-filling"]["reason"]


def test_held_ranks_are_in_the_map_for_a_time(
    analysed_home: Path, toy_analysis: Analysis, situation: Situation
) -> None:
    name = next(iter(toy_analysis.projections))
    held = ((name, 3),)
    made = next(
        one
        for one in speed.fast_maps(toy_analysis.id, AskedTime(1e3, DEVICE, "float16"), held)
        if one.method == "water-filling"
    )
    assert {block.rank for block in made.rank_map.blocks if name in block.members} == {3}


def test_a_draft_remembers_the_time_its_maps_were_made_for(tmp_path: Path) -> None:
    base = MapRequest(0.8, None, (("q", 3),), AskedTime(25.0, DEVICE, "int8", 4))
    drafts = Drafts(tmp_path, "a")
    assert drafts.recall(drafts.keep(Draft({"q": 4}, base)), {"q"}) == Draft({"q": 4}, base)
