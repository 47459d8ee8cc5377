"""One toy analysis with a measured map and a measured sensitivity, made once per run."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

import app
from engine.methods.allocate import allocate_rank_map
from engine.pipeline.analyse import analyse
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.sensitivity import measure_each_projection
from engine.settings import Home
from engine.specs import AnalysisSpec, CorpusSpec, EvaluationSpec, ModelSpec
from engine.types import Budget
from tests.support.analysed_toy import save_toy_model, write_corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from transformers import PreTrainedTokenizerFast

    from engine.analysis.value import Analysis

MAIN = Path(app.__file__).with_name("main.py")

# Every AppTest reads the metadata of all installed packages, which takes longer than most pages and never changes.
manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


def sent_to_browser(page: AppTest, field: str) -> dict[str, Any]:
    """Return what the component with a field of that name is sent."""
    documents = (json.loads(e.proto.json or e.proto.mixed.json or "null") for e in page.get("bidi_component"))
    return next(document for document in documents if document and field in document)


def _silent(*_: object, **__: object) -> None:
    """Report to nobody."""


@pytest.fixture(scope="session")
def toy_home(
    made_once: Callable[[str, Callable[[Path], object]], Path], toy_tokenizer: PreTrainedTokenizerFast
) -> Path:
    """A home with one analysis; do not write to it."""
    return made_once("toy-home", lambda root: _analyse_and_measure_toy(root, toy_tokenizer))


def _analyse_and_measure_toy(root: Path, toy_tokenizer: PreTrainedTokenizerFast) -> None:
    home = Home(root)
    model = save_toy_model(root / "toy-model", toy_tokenizer)
    text = str(write_corpus(root / "corpus.txt"))

    def corpus(n_sequences: int) -> CorpusSpec:
        return CorpusSpec.parse(text, part="calibration", n_sequences=n_sequences, length=64)

    key = analyse(home, AnalysisSpec(ModelSpec.parse(str(model)), corpus(8)), _silent)
    analysis = load_analysis(home.store, key.fingerprint)
    budget = Budget.of_kept_fraction(0.8, analysis.inventory.compressible_params)
    session = EvaluationSession(home, analysis.id, EvaluationSpec(corpus(4)), _silent)
    for method in ("water-filling", "svd-llm"):
        session.measure(allocate_rank_map(analysis, curves_by_metric(analysis), method, budget), _silent)
    measure_each_projection(home, analysis.id, corpus(2), 0.5, _silent)


@pytest.fixture(scope="session")
def toy_analysis(toy_home: Path) -> Analysis:
    """The analysis in the toy home."""
    store = Home(toy_home).store
    return load_analysis(store, store.keys("analysis")[0].fingerprint)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home that the dashboard under test uses."""
    monkeypatch.setenv("RANKSCOPE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def analysed_home(home: Path, toy_home: Path) -> Path:
    """The same with the toy analysis, a copy that may be changed."""
    shutil.copytree(toy_home / "artifacts", home / "artifacts")
    return home


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave submitted jobs queued: these tests look at pages, not at computations."""
    monkeypatch.setattr("engine.jobs.queue.start_detached", lambda *_: None)


@pytest.fixture(autouse=True)
def _empty_caches() -> Iterator[None]:
    """Forget what the dashboard has read, as a new process does."""
    yield
    st.cache_data.clear()
    st.cache_resource.clear()


def _draw(first: str) -> None:
    from app.frame import draw

    draw(first)


@pytest.fixture
def open_page(home: Path) -> Callable[..., AppTest]:
    """Open a page by its name, with query parameters and perhaps with session state, as the main script does."""

    def open_at(name: str, state: Mapping[str, object] | None = None, **query: str) -> AppTest:
        # As the default page it is drawn at once; the main script could only be sent to it from another one.
        page = AppTest.from_function(_draw, args=(name,), default_timeout=60)
        for key, value in query.items():
            page.query_params[key] = value
        for key, content in (state or {}).items():
            page.session_state[key] = content
        return page.run()

    return open_at
