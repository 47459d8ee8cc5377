"""Factors of models in 16 bits: half the disk, the same results within rounding, and homes with factors in float32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.methods.allocate import allocate_rank_map
from engine.model.headers import read_header
from engine.operations import Analyse
from engine.pipeline import analyse as analysing
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.reading.heads import heads
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import Budget, Metric
from tests.support import toys


@pytest.fixture(scope="module")
def asked(tmp_path_factory, toy_tokenizer, text_file):
    """Return a function from the type of a checkpoint to its analysis."""

    def of(dtype: torch.dtype) -> Analyse:
        folder = tmp_path_factory.mktemp("half")
        toys.build("llama-gqa").to(dtype).save_pretrained(folder)
        toy_tokenizer.save_pretrained(folder)
        return Analyse(model=str(folder), text=str(text_file), n_sequences=6, length=32, device="cpu")

    return of


def as_before(monkeypatch):
    """Let factors be stored as before, in float32 whatever the checkpoint's type."""
    monkeypatch.setattr(analysing, "read_header", lambda path: replace(read_header(path), is_half=False))


def analysed(home, operation):
    return load_analysis(home.store, operation.run(home, ignore_progress)["analysis"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_matrices_are_stored_in_16_bits_if_the_models_are_and_the_plan_says_so(dtype, tmp_path, asked):
    home, operation = Home(tmp_path), asked(dtype)
    found, types = dict.fromkeys(operation.plan().disk_bytes, 0), {}
    analysed(home, operation)
    for artifact in map(home.store.read, home.store.keys("factors")):
        tensors = load_file(artifact.path("factors.safetensors"))
        found[artifact.manifest.about["metric"]] += sum(tensor.nbytes for tensor in tensors.values())
        types |= {name.partition("/")[0]: tensor.dtype for name, tensor in tensors.items()}
    matrices = torch.float32 if dtype is torch.float32 else torch.bfloat16
    expected = {
        "basis": matrices,
        "dual": matrices,
        "triangle": matrices,
        "order": torch.int32,
        "offset": torch.float32,
    }
    assert types == expected
    planned = {what: n for what, n in operation.plan().disk_bytes.items() if what != "statistics"}
    assert planned == pytest.approx({what: found[what] for what in planned}, rel=0.05)


def test_a_float16_checkpoint_is_planned_as_wide_as_it_is_opened(asked):
    plans = {dtype: asked(dtype).plan() for dtype in (torch.bfloat16, torch.float16, torch.float32)}
    half, opened_wider, wide = (plan.memory_bytes for plan in plans.values())
    assert half < opened_wider == pytest.approx(wide, rel=1e-5)


def test_maps_measure_as_with_factors_in_float32_and_such_are_not_computed_again(
    tmp_path, asked, text_file, monkeypatch
):
    operation, home = asked(torch.bfloat16), Home(tmp_path / "old")
    with monkeypatch.context() as before:
        as_before(before)
        old = analysed(home, operation)
    stored = set(home.store.keys())
    assert operation.stored(home) is not None
    assert analysed(home, operation).id == old.id
    assert set(home.store.keys()) == stored
    other = Home(tmp_path / "new")
    new = analysed(other, operation)
    assert new.id != old.id
    assert new.about["factors_stored_as"] == "bfloat16"
    corpus = CorpusSpec.parse(str(text_file), part="evaluation", n_sequences=3, length=32)
    sessions = [
        EvaluationSession(where, one.id, EvaluationSpec(corpus), ignore_progress, device="cpu")
        for where, one in ((home, old), (other, new))
    ]
    budget = Budget.of_kept_fraction(0.7, old.inventory.compressible_params)
    methods = ("svd-llm", "skipcat", "water-filling", "width")
    maps = {method: allocate_rank_map(old, curves_by_metric(old), method, budget) for method in methods}
    for method in methods:
        assert allocate_rank_map(new, curves_by_metric(new), method, budget).blocks == maps[method].blocks
    maps["centred"] = replace(maps["skipcat"], metric=Metric.FEATURE)
    for method, rank_map in maps.items():
        first, second = (session.measure(rank_map, ignore_progress) for session in sessions)
        assert first.perplexity != second.perplexity
        assert second.perplexity == pytest.approx(first.perplexity, rel=2e-3), method
    of_heads = [heads(where.store, one, Metric.LOSS) for where, one in ((home, old), (other, new))]
    assert of_heads[0].keys() == of_heads[1].keys() != set()
    for name, spectra in of_heads[0].items():
        np.testing.assert_allclose(of_heads[1][name].energies, spectra.energies, rtol=0.02, atol=1e-3)


def test_statistics_around_a_compressed_model_are_told_from_those_of_other_factors(tmp_path, asked, monkeypatch):
    operation, home = asked(torch.bfloat16).changed(around_keep=0.8), Home(tmp_path)
    with monkeypatch.context() as before:
        as_before(before)
        old = analysed(home, operation)
    home.store.delete(next(key for key in home.store.keys("analysis") if key.fingerprint == old.id))
    n_statistics = len(home.store.keys("statistics"))
    assert analysed(home, operation).id != old.id
    assert len(home.store.keys("statistics")) == n_statistics + old.inventory.n_layers
