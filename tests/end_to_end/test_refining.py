"""From a rank map to refined factors, stored layer by layer and measured apart from the maps as they are."""

from __future__ import annotations

import pytest

from cache import DirectoryStore
from engine.pipeline import refining
from engine.pipeline.evaluating import EvaluationSession
from engine.pipeline.reading import (
    allocate_rank_map,
    curves_by_metric,
    evaluations,
    newest_predictor,
    refined_evaluations,
)
from engine.pipeline.refining import refine
from engine.progress import ignore_progress
from engine.specs import RefinementSpec, TrainingSpec
from engine.types import Budget
from tests import toys
from tests.end_to_end.test_chain import evaluation_spec, run

TRAINED = RefinementSpec(TrainingSpec(epochs=2), compute_dtype="float32")


def analysed(tmp_path, folder, text_file, keep=0.4, method="water-filling"):
    store = DirectoryStore(tmp_path / "artifacts")
    analysis = run(store, tmp_path, folder, text_file)
    budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
    return store, analysis, allocate_rank_map(analysis, curves_by_metric(analysis), method, budget)


@pytest.mark.parametrize("name", toys.ARCHITECTURES)
def test_refined_factors_are_measured_and_listed_apart(name, tmp_path, model_folder, text_file):
    store, analysis, rank_map = analysed(tmp_path, model_folder(name), text_file)
    session = EvaluationSession(store, tmp_path, analysis.id, evaluation_spec(text_file), ignore_progress, device="cpu")
    plain = session.measure(rank_map, ignore_progress)
    for spec in (RefinementSpec(compute_dtype="float32"), TRAINED):
        key = refine(store, tmp_path, analysis.id, rank_map, spec, ignore_progress, device="cpu")
        found = session.measure(rank_map, ignore_progress, key)
        assert found["refinement"] == {"id": key.fingerprint, "kind": spec.kind}
        assert found["nll"] != plain["nll"]
        assert found["params"] == plain["params"]
        assert "predicted_perplexity" not in found
        assert refine(store, tmp_path, analysis.id, rank_map, spec, ignore_progress, device="cpu") == key
    assert [r["id"] for r in evaluations(store, analysis.id)] == [plain["id"]]
    kinds = {r["refinement"]["kind"] for r in refined_evaluations(store, analysis.id)}
    assert kinds == {"corrected", "trained"}
    assert newest_predictor(store, analysis.id)[0].n_runs == 1


class Stopped(Exception):
    """Stands for a kill at a chosen moment."""


def test_a_killed_refinement_goes_on_after_the_last_finished_layer(tmp_path, model_folder, text_file, monkeypatch):
    store, analysis, rank_map = analysed(tmp_path, model_folder("llama"), text_file, method="skipcat")
    whole = DirectoryStore(tmp_path / "whole" / "artifacts")
    run(whole, tmp_path, model_folder("llama"), text_file)
    expected = refine(whole, tmp_path, analysis.id, rank_map, TRAINED, ignore_progress, device="cpu")

    def stop_after_two_layers(stage, fraction, message):
        if message.startswith("Refinement: 2 of"):
            raise Stopped

    with pytest.raises(Stopped):
        refine(store, tmp_path, analysis.id, rank_map, TRAINED, stop_after_two_layers, device="cpu")
    assert len(store.keys("refined-layer")) == 2
    assert not store.keys("refinement")
    trained = []
    real = refining.train_layer
    monkeypatch.setattr(
        refining, "train_layer", lambda pair, spec, deadline: (trained.append(pair.index), real(pair, spec, deadline))
    )
    assert refine(store, tmp_path, analysis.id, rank_map, TRAINED, ignore_progress, device="cpu") == expected
    assert trained == [2]
    for key in whole.keys("refined-layer"):
        assert whole.read(key).manifest.members == store.read(key).manifest.members
