"""From a rank map to refined factors, stored layer by layer and measured apart from the maps as they are."""

from __future__ import annotations

import pytest

from engine.methods.allocate import allocate_rank_map
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.analyses import curves_by_metric
from engine.pipeline.reading.results import measured_row, results
from engine.pipeline.refine import refine
from engine.prediction.runs import predictor_on, reference_text
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import RefinementSpec, TrainingSpec
from engine.types import Budget
from tests.end_to_end.test_chain import evaluation_spec, run
from tests.support import toys

TRAINED = RefinementSpec(TrainingSpec(epochs=2), compute_dtype="float32")


def analysed(tmp_path, folder, text_file, keep=0.4, method="water-filling"):
    store = Home(tmp_path).store
    analysis = run(Home(tmp_path), folder, text_file)
    budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
    return store, analysis, allocate_rank_map(analysis, curves_by_metric(analysis), method, budget)


@pytest.mark.parametrize("name", toys.ARCHITECTURES)
def test_refined_factors_are_measured_and_listed_apart(name, tmp_path, model_folder, text_file):
    store, analysis, rank_map = analysed(tmp_path, model_folder(name), text_file)
    session = EvaluationSession(Home(tmp_path), analysis.id, evaluation_spec(text_file), ignore_progress, device="cpu")
    plain = session.measure(rank_map, ignore_progress)
    for spec in (RefinementSpec(compute_dtype="float32"), TRAINED):
        key = refine(Home(tmp_path), analysis.id, rank_map, spec, ignore_progress, device="cpu")
        found = session.measure(rank_map, ignore_progress, key)
        assert found.perplexity != plain.perplexity
        row = measured_row(results(store, analysis.id), rank_map, key.fingerprint)
        assert row is not None
        assert (row.refinement_id, row.refinement) == (key.fingerprint, spec.kind)
        assert row.perplexities == (found,)
        assert row.size == measured_row(results(store, analysis.id), rank_map).size
        assert refine(Home(tmp_path), analysis.id, rank_map, spec, ignore_progress, device="cpu") == key
    rows = results(store, analysis.id)
    assert [p.provenance.artifact for p in measured_row(rows, rank_map).perplexities] == [plain.provenance.artifact]
    assert {row.refinement for row in rows} == {None, "corrected", "trained"}
    assert predictor_on(reference_text(rows)).n_runs == 1


class Stopped(Exception):
    """Stands for a kill at a chosen moment."""


@pytest.mark.parametrize("stop", ["Refinement: 2 of", "Training: step 5 of"])
def test_a_killed_refinement_goes_on_after_what_was_finished(stop, tmp_path, model_folder, text_file, monkeypatch):
    store, analysis, rank_map = analysed(tmp_path, model_folder("llama"), text_file, method="skipcat")
    whole = Home(tmp_path / "whole").store
    run(Home(tmp_path / "whole"), model_folder("llama"), text_file)
    spec = RefinementSpec(TrainingSpec(epochs=3), batch_size=2, compute_dtype="float32")
    expected = refine(Home(tmp_path / "whole"), analysis.id, rank_map, spec, ignore_progress, device="cpu")

    def kill(stage, fraction, message):
        if message.startswith(stop):
            raise Stopped

    with pytest.raises(Stopped):
        refine(Home(tmp_path), analysis.id, rank_map, spec, kill, device="cpu")
    assert not store.keys("refinement")
    layers, epochs = len(store.keys("refined-layer")), len(store.keys("refined-epoch"))
    assert (layers, epochs) == ((2, 0) if stop.startswith("Refinement") else (3, 1))
    steps = []
    found = refine(
        Home(tmp_path), analysis.id, rank_map, spec, lambda _, __, message: steps.append(message), device="cpu"
    )
    assert found == expected
    assert sum(step.startswith("Training") for step in steps) == (9 if epochs == 0 else 6)
    for key in whole.keys("refined-layer"):
        assert whole.read(key).manifest.members == store.read(key).manifest.members


def test_more_minutes_go_on_where_fewer_stopped(tmp_path, model_folder, text_file):
    store, analysis, rank_map = analysed(tmp_path, model_folder("llama"), text_file)
    found = []
    for minutes in (1e-9, 5.0):
        spec = RefinementSpec(TrainingSpec(epochs=2, minutes=minutes), compute_dtype="float32")
        key = refine(Home(tmp_path), analysis.id, rank_map, spec, ignore_progress, device="cpu")
        found.append(store.read(key).json("refinement.json")["epochs"])
    assert found == [0, 2]
