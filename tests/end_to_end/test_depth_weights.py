"""Ranks and widths are priced by what compressed parts of the model lose on a little text, depth by depth."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from cache import Key
from engine.errors import NumericalError
from engine.evaluation.perplexity import measure, take_reference
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.cost import cost_of
from engine.model.stepping import LayerSteps
from engine.operations import Analyse
from engine.pipeline import analyse as analysing
from engine.pipeline import pilot
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.analyses import DEPTH_WEIGHTS, analysis_of, curves_by_metric, load_analysis
from engine.pipeline.sequences import read_sequences
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import RANK_FORMATS, Budget, Format, Metric
from tests.support import architectures, toys


@pytest.fixture(scope="module")
def trained(tmp_path_factory, toy_tokenizer, text_file):
    """A toy that has learnt the text, so that cutting it costs something."""
    model, folder = toys.build("llama-gqa"), tmp_path_factory.mktemp("trained")
    tokens = torch.tensor(toy_tokenizer(text_file.read_text("utf-8"))["input_ids"])
    rows = tokens[: len(tokens) // 32 * 32].view(-1, 32)[:64]
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(25):
        adam.zero_grad()
        model(rows, labels=rows).loss.backward()
        adam.step()
    model.save_pretrained(folder)
    toy_tokenizer.save_pretrained(folder)
    return folder


def analysed(home, model, text):
    asked = Analyse(model=str(model), text=str(text), n_sequences=6, length=32, device="cpu")
    return load_analysis(home.store, asked.run(home, ignore_progress)["analysis"])


def counted_runs(monkeypatch):
    run, original = Counter(), LayerSteps.run

    def counting(steps, index, *others):
        run[index] += 1
        return original(steps, index, *others)

    monkeypatch.setattr(LayerSteps, "run", counting)
    return run


def of_part(opened, tokens, analysis, formats, layers):
    """Return divergence, measured and predicted nats of the blocks that a water-filled map has in some layers."""
    budget = Budget.of_kept_fraction(0.7, analysis.inventory.compressible_params)
    request = Request(formats=formats)
    whole = allocate_rank_map(analysis, curves_by_metric(analysis), "water-filling", budget, request)
    blocks = tuple(block for block in whole.blocks if analysis.projections[block.members[0]].layer in layers)
    part = replace(whole, blocks=blocks)
    spec = EvaluationSpec(CorpusSpec.parse("demo", part="calibration", n_sequences=4, length=32), batch_size=1)
    of_passes = getattr(torch, analysis.about["spec"]["calibration"]["compute_dtype"])
    reference = take_reference(opened.dense.module, tokens, spec, ignore_progress, of_passes)
    found = measure(opened.module(part), tokens, reference, spec, ignore_progress, of_passes)
    return np.array([found.divergence, found.nll - found.dense_nll, cost_of(analysis, part).nats])


@pytest.mark.parametrize("fits", [True, False])
def test_weights_are_what_parts_of_both_kinds_lose_over_the_promised(tmp_path, trained, text_file, monkeypatch, fits):
    monkeypatch.setattr(pilot, "_VISIBLE_NATS", 1e-4)
    monkeypatch.setattr(analysing, "fits_whole", lambda *_: fits)  # whether a second copy does
    home, run = Home(tmp_path / "home"), counted_runs(monkeypatch)
    analysis = analysed(home, trained, text_file)
    # Of four sequences each: all layers of the dense model, then those from the first that a part changes on. Before
    # that, a model whose layers stay in its files is opened by five runs of each.
    opening = 0 if fits else 5
    assert run == Counter({0: opening + 4 * 3, 1: opening + 4 * 5, 2: opening + 4 * 7})
    weights = analysis.about[DEPTH_WEIGHTS]
    stored = home.store.read(next(iter(home.store.keys("analysis")))).arrays("spectra.safetensors")
    raw = {name: stored[f"nats/loss/{name}"] for name in analysis.nats[Metric.LOSS]}
    layers = sorted({group.layer for group in analysis.inventory.groups})
    mlps = {mlp.name for mlp in analysis.inventory.mlps}
    for name, nats in analysis.nats[Metric.LOSS].items():
        layer = analysis.projections[name.split("+")[0]].layer
        assert np.array_equal(nats, weights["widths" if name in mlps else "ranks"][layers.index(layer)] * raw[name])

    unweighed = replace(analysis, nats={Metric.LOSS: raw})
    corpus = CorpusSpec.parse(str(text_file), part="calibration", n_sequences=10, length=32)
    session = EvaluationSession(home, analysis.id, EvaluationSpec(corpus), ignore_progress, device="cpu")
    unread = read_sequences(session.opened.dense, corpus, None)[6:]
    kinds = {"ranks": RANK_FORMATS, "widths": frozenset({Format.WIDTH})}
    found = {
        (kind, layer): of_part(session.opened, unread, unweighed, formats, {layer})
        for kind, formats in kinds.items()
        for layer in layers
    }
    divergence, increase, promised = np.sum(list(found.values()), axis=0)
    for kind in kinds:
        of_layers = np.array([found[kind, layer] for layer in layers])
        measured, predicted = of_layers[:, 0] * increase / divergence, of_layers[:, 2]
        supposed = 0.02 * np.array([measured.sum() / predicted.sum(), 1])
        expected = (measured + supposed[0]) / (predicted + supposed[1])
        common = increase / promised
        assert weights[kind] == pytest.approx(np.clip(expected, common / 4, common * 4), rel=0.006)
        assert len(set(weights[kind])) > 1


def test_damage_too_small_to_be_seen_weighs_nothing(tmp_path, model_folder, text_file):
    weights = analysed(Home(tmp_path), model_folder("llama-gqa"), text_file).about[DEPTH_WEIGHTS]
    assert {weight for of_kind in weights.values() for weight in of_kind} == {1.0}


def test_widths_of_an_older_analysis_keep_their_one_weight(tmp_path, model_folder, text_file):
    home = Home(tmp_path)
    analysis = analysed(home, model_folder("llama-gqa"), text_file)
    artifact = home.store.read(Key("analysis", analysis.id))
    document = {**artifact.json("analysis.json"), "width_weight": 0.5}
    del document[DEPTH_WEIGHTS]
    older = analysis_of(artifact.key, {}, document, artifact.arrays("spectra.safetensors"))
    mlps = {mlp.name for mlp in older.inventory.mlps}
    assert mlps
    for name, nats in older.nats[Metric.LOSS].items():
        assert np.array_equal(nats, analysis.nats[Metric.LOSS][name] * (0.5 if name in mlps else 1.0))


def test_layers_that_cannot_run_one_at_a_time_are_weighed_in_whole_runs(
    tmp_path, toy_tokenizer, text_file, monkeypatch
):
    monkeypatch.setattr(pilot, "_VISIBLE_NATS", 0.0)
    architectures.build("gemma3n_text").save_pretrained(tmp_path / "model")
    toy_tokenizer.save_pretrained(tmp_path / "model")
    weights = analysed(Home(tmp_path / "home"), tmp_path / "model", text_file).about[DEPTH_WEIGHTS]
    assert len(set(weights["ranks"])) > 1


def test_an_analysis_is_kept_where_its_depths_cannot_be_weighed(tmp_path, trained, text_file, monkeypatch):
    def overflow(*_):
        raise NumericalError("The loss is not finite.")

    monkeypatch.setattr(analysing, "weigh_depths", overflow)
    assert DEPTH_WEIGHTS not in analysed(Home(tmp_path), trained, text_file).about
