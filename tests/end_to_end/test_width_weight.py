"""Widths are priced by what a model of widths alone and one of ranks alone lose on a little calibration text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.errors import NumericalError
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.cost import cost_of
from engine.operations import Analyse
from engine.pipeline import analyse as analysing
from engine.pipeline import pilot
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import RANK_FORMATS, Budget, Format, Metric
from tests.support import toys


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


def over_promised(session, analysis, formats):
    """Return the measured nats of a water-filled map over the predicted ones."""
    budget = Budget.of_kept_fraction(0.7, analysis.inventory.compressible_params)
    request = Request(formats=formats)
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), "water-filling", budget, request)
    found = session.run(session.opened.runnable(rank_map), ignore_progress)
    return (found.nll - found.dense_nll) / cost_of(analysis, rank_map).nats


@pytest.mark.parametrize("fits", [True, False])
def test_the_weight_is_what_maps_of_both_kinds_lose_over_the_promised(tmp_path, trained, text_file, monkeypatch, fits):
    monkeypatch.setattr(pilot, "_VISIBLE_NATS", 1e-3)
    monkeypatch.setattr(analysing, "fits_whole", lambda *_: fits)  # whether a second copy does
    home = Home(tmp_path / "home")
    analysis = analysed(home, trained, text_file)
    weight = analysis.about["width_weight"]
    stored = home.store.read(next(iter(home.store.keys("analysis")))).arrays("spectra.safetensors")
    names = [mlp.name for mlp in analysis.inventory.mlps]
    raw = {name: stored[f"nats/loss/{name}"] for name in names}
    for name in names:
        assert np.array_equal(analysis.nats[Metric.LOSS][name], weight * raw[name])
    unweighed = replace(analysis, nats={Metric.LOSS: {**analysis.nats[Metric.LOSS], **raw}})
    corpus = CorpusSpec.parse(str(text_file), part="calibration", n_sequences=4, length=32)
    session = EvaluationSession(home, analysis.id, EvaluationSpec(corpus, batch_size=1), ignore_progress, device="cpu")
    expected = over_promised(session, unweighed, frozenset({Format.WIDTH}))
    expected /= over_promised(session, unweighed, RANK_FORMATS)
    assert 0.25 < weight < 4
    assert weight != 1
    assert weight == pytest.approx(expected, abs=0.006)


def test_damage_too_small_to_be_seen_weighs_nothing(tmp_path, model_folder, text_file):
    assert analysed(Home(tmp_path), model_folder("llama-gqa"), text_file).about["width_weight"] == 1.0


def test_an_analysis_is_kept_where_its_widths_cannot_be_weighed(tmp_path, trained, text_file, monkeypatch):
    def overflow(*_):
        raise NumericalError("The loss is not finite.")

    monkeypatch.setattr(analysing, "weigh_widths", overflow)
    assert analysed(Home(tmp_path), trained, text_file).about["width_weight"] == 1.0
