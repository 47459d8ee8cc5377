"""From a rank map to refined factors, stored layer by layer and measured apart from the maps as they are."""

from __future__ import annotations

import pytest

from cache import fingerprint
from engine import machine
from engine.errors import InvalidSpecError, ResourceError
from engine.methods.allocate import allocate_rank_map
from engine.pipeline import opened, plan
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.keys import refinement_key
from engine.pipeline.post_train import post_train
from engine.pipeline.reading.analyses import curves_by_metric
from engine.pipeline.reading.results import measured_row, results
from engine.pipeline.refine import refine
from engine.pipeline.refined import training_gained
from engine.prediction.runs import predictor_on, reference_text
from engine.progress import ignore_progress
from engine.rank_map.identity import SCHEMA_VERSION, decided
from engine.settings import Home
from engine.specs import PostTrainingSpec, RefinementSpec, TrainingSpec
from engine.types import Budget
from tests.end_to_end.test_chain import evaluation_spec, run
from tests.support.tiers import every_architecture_at_length

TRAINED = RefinementSpec(TrainingSpec(n_sequences=24, epochs=2), compute_dtype="float32")


def analysed(tmp_path, folder, text_file, keep=0.4, method="water-filling"):
    store = Home(tmp_path).store
    analysis = run(Home(tmp_path), folder, text_file)
    budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
    return store, analysis, allocate_rank_map(analysis, curves_by_metric(analysis), method, budget)


@every_architecture_at_length
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
    spec = RefinementSpec(TrainingSpec(epochs=3, n_sequences=6), batch_size=2, compute_dtype="float32")
    expected = refine(Home(tmp_path / "whole"), analysis.id, rank_map, spec, ignore_progress, device="cpu")

    def kill(stage, fraction, message):
        if message.startswith(stop):
            raise Stopped

    with pytest.raises(Stopped):
        refine(Home(tmp_path), analysis.id, rank_map, spec, kill, device="cpu")
    assert not store.keys("refinement")
    layers, checks = len(store.keys("refined-layer")), len(store.keys("training-check"))
    assert (layers, checks) == ((2, 0) if stop.startswith("Refinement") else (3, 1))
    steps = []
    found = refine(
        Home(tmp_path), analysis.id, rank_map, spec, lambda _, __, message: steps.append(message), device="cpu"
    )
    assert found == expected
    n_steps = sum(step.startswith("Training") for step in steps)
    assert n_steps == (9 if checks == 0 else 4)
    assert not store.keys("training-check")
    for key in whole.keys("refined-layer"):
        assert whole.read(key).manifest.members == store.read(key).manifest.members


def test_training_takes_all_the_text_there_is_and_needs_some_to_check(tmp_path, model_folder, text_file):
    store, analysis, rank_map = analysed(tmp_path, model_folder("llama"), text_file)
    spec = RefinementSpec(TrainingSpec(n_sequences=10**6), correct=False, compute_dtype="float32")
    key = refine(Home(tmp_path), analysis.id, rank_map, spec, ignore_progress, device="cpu")
    found = store.read(key).json("refinement.json")
    assert 0 < found["steps"] < 1000
    assert found["held_out_divergences"][-1] < found["held_out_divergences"][0]
    assert training_gained(store, key)


def test_training_that_gains_nothing_says_so(tmp_path, model_folder, text_file):
    store, analysis, rank_map = analysed(tmp_path, model_folder("llama"), text_file)
    spec = RefinementSpec(TrainingSpec(n_sequences=6, learning_rate=0.99), correct=False, compute_dtype="float32")
    key = refine(Home(tmp_path), analysis.id, rank_map, spec, ignore_progress, device="cpu")
    before, *after = store.read(key).json("refinement.json")["held_out_divergences"]
    assert min(after) > before
    assert not training_gained(store, key)


def test_a_map_that_cuts_nothing_has_nothing_to_train(tmp_path, model_folder, text_file):
    _, analysis, rank_map = analysed(tmp_path, model_folder("llama"), text_file, keep=1.0)
    with pytest.raises(InvalidSpecError, match="nothing to train"):
        refine(Home(tmp_path), analysis.id, rank_map, TRAINED, ignore_progress, device="cpu")


def test_what_cannot_be_trained_is_refused_before_the_model_is_opened(tmp_path, model_folder, text_file, monkeypatch):
    store, analysis, ranks = analysed(tmp_path, model_folder("llama"), text_file)
    widths = allocate_rank_map(
        analysis,
        curves_by_metric(analysis),
        "width",
        Budget.of_kept_fraction(0.8, analysis.inventory.compressible_params),
    )
    monkeypatch.setattr(opened, "open_model", lambda *_, **__: pytest.fail("the model was opened"))
    spec, text = PostTrainingSpec(), evaluation_spec(text_file)
    with pytest.raises(InvalidSpecError, match="nothing to post-train"):
        post_train(Home(tmp_path), analysis.id, widths, spec, text, ignore_progress, device="cpu")
    monkeypatch.setattr(plan, "free_memory_bytes", lambda: 10**6)
    with pytest.raises(ResourceError, match="does not fit into memory"):
        post_train(Home(tmp_path), analysis.id, ranks, spec, text, ignore_progress, device="cpu")
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 8 * analysis.inventory.total_params)
    with pytest.raises(ResourceError, match=r"^Training on llama\S* needs about"):
        refine(Home(tmp_path), analysis.id, ranks, TRAINED, ignore_progress, device="cpu", teacher=analysis)
    assert not store.keys("refined-layer")


def test_training_learns_from_the_model_that_the_analysed_one_was_made_from(tmp_path, model_folder, text_file):
    store, analysis, rank_map = analysed(tmp_path, model_folder("llama"), text_file)
    original = run(Home(tmp_path), model_folder("llama-gqa"), text_file)
    spec = RefinementSpec(TrainingSpec(n_sequences=6), correct=False, compute_dtype="float32")

    def at_first(**teacher):
        key = refine(Home(tmp_path), analysis.id, rank_map, spec, ignore_progress, device="cpu", **teacher)
        return store.read(key).json("refinement.json")["held_out_divergences"][0]

    own, others = at_first(), at_first(teacher=original)
    assert others > 1.2 * own
    assert at_first(teacher=analysis) == pytest.approx(own)


def test_what_was_corrected_by_earlier_releases_is_found(tmp_path, model_folder, text_file):
    _, analysis, rank_map = analysed(tmp_path, model_folder("llama"), text_file)
    former = {"training": None, "damping": 1e-3, "batch_size": 4, "compute_dtype": "float32"}
    subject = {**decided(rank_map), "spec": former}
    expected = fingerprint("refinement", subject, [analysis.id, "0" * 64], schema_version=SCHEMA_VERSION)
    found = refinement_key(rank_map, analysis.id, RefinementSpec(compute_dtype="float32"), "0" * 64)
    assert found.fingerprint == expected
