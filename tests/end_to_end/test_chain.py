"""The whole chain on every architecture: folder and text file in, measured rank maps out."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cache import DirectoryStore, Key, MemoryStore
from engine.errors import InfeasibleBudgetError, InvalidRankMapError, ModelError, RankScopeError
from engine.methods.allocate import Request, Target, allocate_rank_map, allocate_to_target, rule_of
from engine.methods.cost import cost_of
from engine.methods.presets import PRESETS, AllocationSettings
from engine.model.module import pass_type
from engine.operations import Analyse
from engine.pipeline import calibrate as calibrating
from engine.pipeline.analyse import analyse
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.factors import factors_reader
from engine.pipeline.reading.analyses import analysis_headings, curves_by_metric, load_analysis
from engine.pipeline.reading.measurements import measured_sensitivity
from engine.pipeline.reading.results import measured_row, results
from engine.pipeline.sensitivity import measure_each_projection
from engine.prediction.runs import predictor_on, reference_text
from engine.progress import ignore_progress
from engine.rank_map.document import RankMap, parse_rank_map
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import BlockRank, Budget, Format, Importance, Metric
from tests.end_to_end.conftest import LINES
from tests.support import toys
from tests.support.tiers import every_architecture_at_length


def arguments(folder, text_file, **changes):
    return {"model": str(folder), "text": str(text_file), "n_sequences": 6, "length": 32, **changes}


def run(home, folder, text_file, **changes):
    spec = Analyse(**arguments(folder, text_file, **changes)).spec()
    key = analyse(home, spec, ignore_progress, device="cpu")
    return load_analysis(home.store, key.fingerprint)


def evaluation_spec(text_file):
    corpus = CorpusSpec.parse(str(text_file), part="evaluation", n_sequences=3, length=32)
    return EvaluationSpec(corpus)


@every_architecture_at_length
def test_every_architecture_goes_from_a_folder_to_measured_rank_maps(name, tmp_path, model_folder, text_file):
    store = DirectoryStore(tmp_path / "artifacts")
    analysis = run(Home(tmp_path), model_folder(name), text_file, metrics=list(Metric))
    assert set(analysis.energies) == set(analysis.nats) == set(Metric)
    curves = curves_by_metric(analysis)
    session = EvaluationSession(
        Home(tmp_path), analysis.id[:10], evaluation_spec(text_file), ignore_progress, device="cpu"
    )
    computed = [name for name, preset in PRESETS.items() if not preset.needs_search]
    if not analysis.inventory.mlps:
        with pytest.raises(InfeasibleBudgetError, match="No MLP of this analysis"):
            rule_of("width", curves).allocate(Budget.of_kept_fraction(0.7, analysis.inventory.compressible_params))
        computed.remove("width")
    for method in computed:
        budget = Budget.of_kept_fraction(0.7, analysis.inventory.compressible_params)
        rank_map = allocate_rank_map(analysis, curves, method, budget)
        again = parse_rank_map(rank_map.to_json().encode())
        found = session.measure(again, ignore_progress)
        row = measured_row(results(store, analysis.id), again)
        assert row.size.params <= budget.params
        assert row.size.kept_fraction == pytest.approx(cost_of(analysis, rank_map).kept_fraction)
        assert found.perplexity > 0
        predicted = row.perplexities[0].prediction
        assert predicted.low <= predicted.perplexity <= predicted.high
        assert 0 <= found.agreement <= 1
    maps = results(store, analysis.id)[1:]
    assert len(maps) == len(computed)
    assert {row.perplexities[0].prediction.calibrated_on for row in maps} == {len(computed) - 1}
    assert_targets_are_met(store, analysis, curves)
    dense = RankMap("m", analysis.about["model_fingerprint"], None, "dense", Metric.LOSS, None, ())
    untouched = session.measure(dense, ignore_progress)
    assert untouched.perplexity == pytest.approx(untouched.dense_perplexity, rel=1e-6)
    assert measured_row(results(store, analysis.id), dense).size.kept_fraction == 1.0


@every_architecture_at_length
def test_statistics_around_a_compressed_model_are_another_analysis_of_the_same_weights(
    name, tmp_path, model_folder, text_file
):
    store = DirectoryStore(tmp_path / "artifacts")
    around = run(Home(tmp_path), model_folder(name), text_file, around_keep=0.7)
    dense = run(Home(tmp_path), model_folder(name), text_file)
    assert len(store.keys("analysis")) == 2
    assert around.id != dense.id
    assert around.calibration_nll == dense.calibration_nll
    block = dense.inventory.groups[-1].name
    assert not np.array_equal(around.nats[Metric.LOSS][block], dense.nats[Metric.LOSS][block])
    np.testing.assert_allclose(around.energies[Metric.WEIGHT][block], dense.energies[Metric.WEIGHT][block], rtol=1e-6)
    for projection, importances in dense.importances.items():
        np.testing.assert_array_equal(around.importances[projection], importances)
    budget = Budget.of_kept_fraction(0.7, dense.inventory.compressible_params)
    rank_map = allocate_rank_map(around, curves_by_metric(around), "water-filling", budget)
    session = EvaluationSession(Home(tmp_path), around.id, evaluation_spec(text_file), ignore_progress, device="cpu")
    assert session.measure(rank_map, ignore_progress).perplexity > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"around_keep": 1.0}, "below 1"), ({"around_keep": 0.8, "metrics": ["input"]}, "need the loss metric")],
)
def test_statistics_around_nothing_sensible_are_refused(changes, message, tmp_path, model_folder, text_file):
    with pytest.raises(RankScopeError, match=message):
        Analyse(**arguments(model_folder("llama"), text_file, **changes)).spec()


def assert_targets_are_met(store, analysis, curves):
    """Every method reaches a size and a predicted perplexity that lie between its extremes."""
    text = reference_text(results(store, analysis.id))
    predictor = predictor_on(text)
    computed = [n for n, p in PRESETS.items() if not p.needs_search and (analysis.inventory.mlps or n != "width")]
    assert (predictor.n_runs, text.name) == (len(computed), "notes.txt (calibration text)")
    dense_mb = analysis.inventory.total_params * 2 / 1e6
    spared_mb = analysis.inventory.compressible_params * 2 / 1e6
    for method in computed:
        target = Target(mb=dense_mb - 0.3 * spared_mb)
        small = allocate_to_target(analysis, method, rule_of(method, curves), target, predictor)
        assert 0.9 * target.mb < cost_of(analysis, small).bytes_at(target.dtype) / 1e6 <= target.mb
        hardest = predictor.predict(cost_of(analysis, small).nats, small.metric).perplexities()[0]
        target = Target(perplexity_ratio=(1 + hardest) / 2)
        good = allocate_to_target(analysis, method, rule_of(method, curves), target, predictor)
        predicted = predictor.predict(cost_of(analysis, good).nats, good.metric).perplexities()[0]
        assert 1 <= predicted <= target.perplexity_ratio * (1 + 1e-9)
        assert cost_of(analysis, good).params > cost_of(analysis, small).params


def test_predictions_are_made_per_text(tmp_path, model_folder, text_file):
    store = DirectoryStore(tmp_path / "artifacts")
    analysis = run(Home(tmp_path), model_folder("llama"), text_file)
    curves = curves_by_metric(analysis)
    assert reference_text(results(store, analysis.id)) is None
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(f"{line} Chapter {i}." for i in range(40) for line in reversed(LINES)))
    for place, text in enumerate((text_file, other)):
        session = EvaluationSession(Home(tmp_path), analysis.id, evaluation_spec(text), ignore_progress, device="cpu")
        for n_before, kept in enumerate((0.6, 0.8)):
            budget = Budget.of_kept_fraction(kept, analysis.inventory.compressible_params)
            rank_map = allocate_rank_map(analysis, curves, "svd-llm", budget)
            setting = session.measure(rank_map, ignore_progress).setting
            (found,) = [
                p for p in measured_row(results(store, analysis.id), rank_map).perplexities if p.setting == setting
            ]
            assert found.prediction.calibrated_on == n_before
        assert predictor_on(reference_text(results(store, analysis.id))).n_runs == 2, place
    assert [len(row.perplexities) for row in results(store, analysis.id)] == [2, 2, 2]


def test_flrc_has_other_importances_and_settings(tmp_path, model_folder, text_file):
    analysis = run(Home(tmp_path), model_folder("llama"), text_file)
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    maps = {
        mode: allocate_rank_map(analysis, curves_by_metric(analysis, mode), "flrc", budget).blocks
        for mode in Importance
    }
    assert len(set(maps.values())) == len(Importance)
    assert maps[Importance.TAYLOR2] == allocate_rank_map(analysis, curves_by_metric(analysis), "flrc", budget).blocks
    settings = AllocationSettings(gamma=0.0, min_rank=6, rank_step=3)
    blocks = allocate_rank_map(analysis, curves_by_metric(analysis), "flrc", budget, Request(settings=settings)).blocks
    ranks = [b.rank for b in blocks if b.rank is not None]
    assert ranks
    assert all(rank >= 6 and rank % 3 == 0 for rank in ranks)


def test_the_same_spec_gives_bit_identical_artifacts(tmp_path, model_folder, text_file):
    homes = [Home(tmp_path / "a"), Home(tmp_path / "b")]
    for home in homes:
        run(home, model_folder("llama-gqa"), text_file)
    first, second = (home.store for home in homes)
    assert first.keys() == second.keys()
    assert first.keys()
    for key in first.keys():  # noqa: SIM118 (a store is no mapping)
        assert first.read(key).manifest.members == second.read(key).manifest.members, key


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_an_analysis_names_the_type_it_was_made_in_and_serves_whoever_names_none(
    dtype, tmp_path, model_folder, text_file
):
    home, folder = Home(tmp_path), model_folder("llama")
    named = run(home, folder, text_file, compute_dtype=dtype)
    unnamed = Analyse(**arguments(folder, text_file))
    assert named.about["spec"]["calibration"]["compute_dtype"] == dtype
    assert run(home, folder, text_file).id == unnamed.stored(home) == named.id
    alone = run(Home(tmp_path / "other"), folder, text_file)
    assert alone.about["spec"]["calibration"]["compute_dtype"] == pass_type("cpu")


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_passes_in_float32_are_in_float32_whatever_the_checkpoint_stores(stored, tmp_path, model_folder, text_file):
    """The weights of a half-precision checkpoint, written out in float32, give the same numbers to the last bit."""
    folders = [shutil.copytree(model_folder("llama-gqa"), tmp_path / name) for name in ("half", "whole")]
    half = toys.build("llama-gqa").to(stored)
    half.save_pretrained(folders[0])
    half.float().save_pretrained(folders[1])
    found = [run(Home(tmp_path / "home"), folder, text_file, compute_dtype="float32") for folder in folders]
    assert [analysis.about["dtype"] for analysis in found] == ["float32", "float32"]
    assert found[0].about["calibration_nll"] == found[1].about["calibration_nll"]
    for name, values in found[0].importances.items():
        assert np.array_equal(values, found[1].importances[name])
    for name, values in found[0].nats[Metric.LOSS].items():
        assert np.array_equal(values, found[1].nats[Metric.LOSS][name])


def test_several_passes_within_a_memory_limit_give_the_same_analysis(tmp_path, model_folder, text_file):
    spec = Analyse(**arguments(model_folder("llama"), text_file)).spec()
    homes = [Home(tmp_path / "whole"), Home(tmp_path / "parts")]
    plans = []

    def keep_plan(stage, fraction, message):
        if stage == "plan" and " over " in message:
            plans.append(message)

    for home, limit in zip(homes, (10**9, 140_000), strict=True):
        analyse(home, spec, keep_plan, memory_bytes=limit, device="cpu")
    assert [plan.split(" over ")[0] for plan in plans] == ["Plan: one pass", "Plan: 3 passes"]
    members = [{str(k): s.read(k).manifest.members for k in s.keys()} for s in (home.store for home in homes)]  # noqa: SIM118
    assert members[0] == members[1]


class Stopped(Exception):
    """Stands for a kill at a chosen moment."""


def test_an_analysis_goes_on_after_the_last_finished_layer(tmp_path, model_folder, text_file, monkeypatch):
    spec = Analyse(**arguments(model_folder("llama"), text_file)).spec()
    store = DirectoryStore(tmp_path / "artifacts")

    def stop_when_factorising(stage, fraction, message):
        if stage == "factorization":
            raise Stopped

    with pytest.raises(Stopped):
        analyse(Home(tmp_path), spec, stop_when_factorising, device="cpu")
    assert len(store.keys("statistics")) == 3
    assert not store.keys("analysis")
    lost = store.keys("statistics")[1]
    store.delete(lost)
    collected = []
    real = calibrating.collect_statistics

    def counting(module, inventory, tokens, calibration, layers, report, **room):
        collected.append(list(layers))
        return real(module, inventory, tokens, calibration, layers, report, **room)

    monkeypatch.setattr(calibrating, "collect_statistics", counting)
    key = analyse(Home(tmp_path), spec, ignore_progress, device="cpu")
    assert [len(layers) for layers in collected] == [1]
    assert lost in store
    assert load_analysis(store, key.fingerprint).calibration_nll > 0


def test_a_moved_model_and_text_are_the_same_analysis_and_a_changed_one_is_not(tmp_path, model_folder, text_file):
    here = shutil.copytree(model_folder("llama"), tmp_path / "here")
    first = run(Home(tmp_path), here, text_file)
    there = shutil.copytree(here, tmp_path / "there")
    notes = shutil.copy(text_file, tmp_path / text_file.name)
    assert run(Home(tmp_path), there, notes).id == first.id
    assert run(Home(tmp_path), there, notes, damping=1e-5).id != first.id
    toys.build("llama", seed=5).save_pretrained(there)
    session = EvaluationSession(Home(tmp_path), first.id, evaluation_spec(text_file), ignore_progress, device="cpu")
    assert session.opened.folder.path == here
    toys.build("llama", seed=5).save_pretrained(here)
    with pytest.raises(ModelError, match=r"no longer at .*there or .*here, or has changed since it was analysed"):
        EvaluationSession(Home(tmp_path), first.id, evaluation_spec(text_file), ignore_progress, device="cpu")


def test_a_moved_model_is_found_where_it_was_analysed_last(tmp_path, model_folder, text_file):
    home = Home(tmp_path)

    def open_session():
        return EvaluationSession(home, first.id, evaluation_spec(text_file), ignore_progress, device="cpu")

    here = shutil.copytree(model_folder("llama"), tmp_path / "here")
    first = run(home, here, text_file)
    there = shutil.move(here, tmp_path / "there")
    with pytest.raises(ModelError, match=r"no longer at .*here.* analyse it where it lies now") as caught:
        open_session()
    assert "There is no model folder" in str(caught.value.__cause__)
    moved = Analyse(**arguments(there, text_file))
    assert moved.stored(home) is None
    assert run(home, there, text_file).id == first.id
    assert moved.stored(home) == first.id
    assert open_session().opened.folder.path == there


def test_sensitivity_is_measured_once_and_read_back(tmp_path, model_folder, text_file):
    store = DirectoryStore(tmp_path / "artifacts")
    analysis = run(Home(tmp_path), model_folder("qwen3"), text_file)
    assert measured_sensitivity(store, analysis.id) is None
    corpus = CorpusSpec.parse(str(text_file), part="calibration", n_sequences=2, length=32)

    def measure(kept_fraction):
        return measure_each_projection(
            Home(tmp_path), analysis.id, corpus, kept_fraction, ignore_progress, device="cpu"
        )

    first = measure(0.5)
    assert set(first.nll_increase) == set(analysis.projections)
    assert measured_sensitivity(store, analysis.id) == first
    assert measure(0.6).kept_fraction == 0.6
    assert measure(0.5) == first
    assert len(store.keys("sensitivity")) == 2


def test_a_map_of_another_model_or_an_unstored_metric_is_refused(tmp_path, model_folder, text_file):
    analysis = run(Home(tmp_path), model_folder("llama"), text_file, metrics=["input", "loss"])
    session = EvaluationSession(Home(tmp_path), analysis.id, evaluation_spec(text_file), ignore_progress, device="cpu")
    name = analysis.inventory.projections[0].name
    block = BlockRank((name,), Format.LOW_RANK, 4)
    with pytest.raises(InvalidRankMapError):
        session.measure(RankMap("m", "0" * 64, None, "x", Metric.LOSS, None, (block,)), ignore_progress)
    known = analysis.about["model_fingerprint"]
    with pytest.raises(RankScopeError, match="--metrics input,loss,feature"):
        session.measure(RankMap("m", known, None, "x", Metric.FEATURE, None, (block,)), ignore_progress)


def test_the_dual_of_an_orthonormal_basis_is_not_stored(tmp_path, model_folder, text_file):
    analysis = run(Home(tmp_path), model_folder("llama-gqa"), text_file)
    store = DirectoryStore(tmp_path / "artifacts")
    for metric in analysis.nats:
        read = factors_reader(analysis, store, metric)
        stored = {
            name
            for key in analysis.about["factors"][metric]
            for name in load_file(store.read(Key("factors", key)).path("factors.safetensors"))
        }
        for p in analysis.inventory.projections:
            factors = read((p.name,))
            torch.testing.assert_close(factors.dual @ factors.basis, torch.eye(len(factors.dual)), atol=1e-3, rtol=0)
            is_orthonormal = p.out_features <= p.in_features and metric is not Metric.LOSS
            assert (f"dual/{p.name}" in stored) == (not is_orthonormal)


def test_ids_may_be_shortened_and_unknown_ones_say_what_there_is(tmp_path, model_folder, text_file):
    store = DirectoryStore(tmp_path / "artifacts")
    analysis = run(Home(tmp_path), model_folder("llama"), text_file)
    assert [h.id for h in analysis_headings(store)] == [analysis.id]
    assert load_analysis(store, analysis.id[:6]).id == analysis.id
    with pytest.raises(RankScopeError, match=analysis.id[:12]):
        load_analysis(store, "zz")
    with pytest.raises(RankScopeError, match="rankscope analyse demo"):
        load_analysis(MemoryStore(), "ab")


def test_no_artifact_holds_an_absolute_path(tmp_path, model_folder, text_file):
    store = DirectoryStore(tmp_path / "artifacts")
    run(Home(tmp_path), model_folder("llama"), text_file)
    for key in store.keys():  # noqa: SIM118 (a store is no mapping)
        artifact = store.read(Key(key.stage, key.fingerprint))
        for member in artifact.manifest.members:
            assert str(tmp_path).encode() not in artifact.path(member).read_bytes()
