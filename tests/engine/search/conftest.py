"""A toy model analysed with the default metrics, and a quick search on it."""

from __future__ import annotations

import pytest

from cache import DirectoryStore
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.reading.analyses import load_analysis
from engine.progress import ignore_progress
from engine.search.goals import Goal
from engine.search.space import SpaceSpec
from engine.search.specs import ObjectiveSpec, SearchSpec
from engine.settings import Home
from engine.specs import CorpusSpec
from tests.end_to_end.conftest import model_folder, text_file

__all__ = ["model_folder", "text_file"]


@pytest.fixture
def analysed(tmp_path, model_folder, text_file):
    """Return a function from an architecture to a store and an analysis in it."""

    def make(name, **changes):
        arguments = {"model": str(model_folder(name)), "text": str(text_file), "n_sequences": 6, "length": 32}
        store = DirectoryStore(tmp_path / "artifacts")
        key = analyse(Home(tmp_path), Analyse(**{**arguments, **changes}).spec(), ignore_progress, device="cpu")
        return store, load_analysis(store, key.fingerprint)

    return make


@pytest.fixture
def quick(text_file):
    """Return a function from changes to the spec of a search that takes seconds."""

    def spec(goal=None, **changes):
        pool = CorpusSpec.parse(str(text_file), part="calibration", n_sequences=4, length=32)
        objective = ObjectiveSpec(pool, n_subset=2, n_allocations=2)
        fields = {"goal": goal or Goal.at(0.8), "space": SpaceSpec(rank_step=2), "n_trials": 4, **changes}
        return SearchSpec(objective, **fields)

    return spec
