"""A host process with the toy model, shared by the tests of a module."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from engine.methods.allocate import allocate_rank_map
from engine.pipeline.generate import GenerationSession
from engine.pipeline.reading.analyses import curves_by_metric
from engine.playground import MapChoice, Playground, Question
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import GenerationSpec
from engine.types import Budget
from tests.app.conftest import toy_analysis, toy_home  # noqa: F401 -- fixtures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from engine.analysis.value import Analysis
    from engine.playground import Answer, ProgressiveChoice

PATIENCE_S = 120.0


def until(is_so: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Look again and again until something is so."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "It did not come true in time."
        time.sleep(0.02)


def finished(playground: Playground, answer_id: str) -> Answer:
    """Look at an answer until it is final."""
    until(lambda: playground.answer(answer_id).status.is_final)
    return playground.answer(answer_id)


def hosts(home: Path, parent: int | None = None) -> set[int]:
    """Return the ids of the living hosts of a home that this process, or another parent, started."""
    found = set()
    for process in psutil.Process(parent).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            command = process.cmdline()  # a zombie has none
            if "engine.playground.host" in command and str(home) in command:
                found.add(process.pid)
    return found


@pytest.fixture(scope="session")
def rank_map(toy_analysis: Analysis):  # noqa: F811 -- the fixture imported above
    budget = Budget.of_kept_fraction(0.6, toy_analysis.inventory.compressible_params)
    return allocate_rank_map(toy_analysis, curves_by_metric(toy_analysis), "water-filling", budget)


@pytest.fixture(scope="session")
def question(toy_analysis: Analysis, rank_map):  # noqa: F811 -- the fixture imported above
    """Return a function that makes questions about the toy model."""

    def make(
        prompt: str = "The river",
        n_tokens: int = 12,
        temperature: float = 0.0,
        seed: int = 0,
        compressed: ProgressiveChoice | None = None,
        chat: bool | None = False,
    ) -> Question:
        spec = GenerationSpec(n_tokens, temperature, seed)
        return Question(toy_analysis.id, prompt, chat, spec, compressed or MapChoice(rank_map.to_json()))

    return make


@pytest.fixture(scope="module")
def playground(toy_home: Path) -> Iterator[Playground]:  # noqa: F811 -- the fixture imported above
    opened = Playground(toy_home)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def session(toy_home: Path, toy_analysis: Analysis) -> GenerationSession:  # noqa: F811 -- the fixtures imported above
    return GenerationSession(Home(toy_home), toy_analysis.id, ignore_progress)
