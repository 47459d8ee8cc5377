"""A model whose tokenizer begins every text with a token of its own, from the folder to a measured rank map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForCausalLM

from engine.calibration.passes import collect_statistics
from engine.methods.allocate import allocate_rank_map
from engine.model.opening import open_model
from engine.operations import Analyse
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.factorize import read_statistics
from engine.pipeline.keys import statistics_key
from engine.pipeline.reading.analyses import analysis_spec, curves_by_metric
from engine.pipeline.report import report_content
from engine.progress import ignore_progress
from engine.report import render_report
from engine.settings import Home
from engine.text.corpora import load_corpus
from engine.types import Budget
from tests.end_to_end.test_chain import arguments, evaluation_spec, run
from tests.support import toys

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory, toy_tokenizer: Any) -> tuple[Path, Path]:
    """The same weights in two folders: with the toy's tokenizer, and with one that begins every text with <eos>."""
    plain, begun = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("begun")
    for folder in (plain, begun):
        toys.build("llama").save_pretrained(folder)
        toy_tokenizer.save_pretrained(folder)
    backend = toy_tokenizer.backend_tokenizer
    changed = type(backend).from_str(backend.to_str())
    changed.post_processor = processors.TemplateProcessing(
        single="<eos> $A", special_tokens=[("<eos>", toy_tokenizer.eos_token_id)]
    )
    changed.save(str(begun / "tokenizer.json"))
    return plain, begun


def test_sequences_begin_with_it_in_every_stage_and_measurements_say_so(tokenizers, tmp_path, text_file):
    plain, begun = tokenizers
    home = Home(tmp_path)
    first, second = run(home, plain, text_file), run(home, begun, text_file)
    assert (first.about["text_start"], second.about["text_start"]) == ([], ["<eos>"])
    assert first.about["corpus_fingerprint"] != second.about["corpus_fingerprint"], "the same words, other sequences"
    assert first.about["calibration_nll"] != second.about["calibration_nll"]
    for folder, analysis in ((plain, first), (begun, second)):
        assert Analyse(**arguments(folder, text_file)).stored(home) == analysis.id

    spec = analysis_spec(second)
    opened = open_model(begun, device="cpu")
    tokens = load_corpus(spec.corpus, opened.tokenizer).tokens
    expected, _ = collect_statistics(
        opened.module, opened.inventory, tokens, spec.calibration, [0], ignore_progress, n_start=1
    )
    upstream = (second.about["model_fingerprint"], second.about["corpus_fingerprint"])
    key = statistics_key(spec, 0, *upstream, begun=True, experts=False)
    stored = read_statistics(home.store.read(key), 0, torch.device("cpu"))
    for name, moment in expected[0].gradients.items():
        assert torch.equal(stored.gradients[name], moment), "without the gradients of <eos>"

    budget = Budget.of_kept_fraction(0.6, second.inventory.compressible_params)
    rank_map = allocate_rank_map(second, curves_by_metric(second), "water-filling", budget)
    spec = evaluation_spec(text_file)
    session = EvaluationSession(home, second.id, spec, ignore_progress, device="cpu")
    measured = session.measure(rank_map, ignore_progress)
    rows = load_corpus(spec.corpus, session.opened.dense.tokenizer).tokens
    assert rows[:, 0].tolist() == [session.opened.dense.tokenizer.eos_token_id] * len(rows)
    module = AutoModelForCausalLM.from_pretrained(begun).eval()
    with torch.inference_mode():
        expected = math.exp(module(rows, labels=rows).loss)
    assert measured.dense_perplexity == pytest.approx(expected, rel=1e-5)
    assert "&lt;eos&gt;" in render_report(report_content(home.store, second.id, rank_map))
