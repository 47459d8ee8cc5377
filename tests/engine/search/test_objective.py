"""What trials are measured by: slices equal to fresh products, the subset and the objective by their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from engine.errors import InvalidSpecError
from engine.evaluation.perplexity import take_reference
from engine.progress import ignore_progress
from engine.search.objective import Objective, choose_subset, evaluation_spec
from engine.search.slices import SlicingReader
from engine.search.specs import ObjectiveSpec, Subset
from engine.specs import CorpusSource, CorpusSpec
from engine.types import Format, Metric
from tests.engine.compression.test_apply import Toy
from tests.support import toys

POOL = CorpusSpec(CorpusSource.FILE, "x", n_sequences=6, length=20)
TOKENS = toys.tokens(6, 20, seed=4)


def logits(module):
    with torch.no_grad():
        return module(input_ids=TOKENS, use_cache=False).logits


def perplexities(module):
    scored = functional.cross_entropy(logits(module)[:, :-1].transpose(1, 2), TOKENS[:, 1:], reduction="none")
    return scored.double().mean(1).exp()


@pytest.mark.parametrize("memory_bytes", [0, 20_000, 10**9])
@pytest.mark.parametrize("name", ["llama-gqa", "gpt2"])
def test_slices_give_the_model_that_fresh_products_give(name, memory_bytes):
    toy = Toy(name, Metric.FEATURE)
    reader = SlicingReader(toy.module, toy.factors.__getitem__, memory_bytes)
    for fraction in (0.7, 0.3):
        blocks = toy.blocks(Format.LOW_RANK, fraction)
        expected = logits(toy.compressed(blocks))
        objective = Objective(
            toy.module,
            TOKENS,
            take_reference(toy.module, TOKENS, evaluation_spec(spec()), ignore_progress),
            reader,
            spec(),
        )
        found = objective(blocks, ignore_progress)
        nll = functional.cross_entropy(expected[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten()).item()
        assert found.measurement.nll == pytest.approx(nll, rel=1e-5)


def spec(**changes):
    return ObjectiveSpec(POOL, **{"n_subset": 2, "n_allocations": 3, **changes})


def test_the_objective_is_perplexity_plus_lambda_times_divergence():
    toy = Toy("llama", Metric.FEATURE)
    blocks = toy.blocks(Format.LOW_RANK, 0.4)
    found = {}
    for weight in (0.0, 2.5):
        with_weight = spec(divergence_weight=weight)
        reference = take_reference(toy.module, TOKENS, evaluation_spec(with_weight), ignore_progress)
        objective = Objective(toy.module, TOKENS, reference, toy.factors.__getitem__, with_weight)
        found[weight] = objective(blocks, ignore_progress)
    dense, compressed = (functional.log_softmax(logits(m), -1)[:, :-1] for m in (toy.module, toy.compressed(blocks)))
    divergence = (dense.exp() * (dense - compressed)).sum(-1).mean().item()
    assert found[0.0].objective == pytest.approx(math.exp(found[0.0].measurement.nll))
    # 256 of 320 tokens are compared one by one and the rest as one: a lower bound, and here a close one.
    assert 0.9 * divergence < (found[2.5].objective - found[0.0].objective) / 2.5 <= divergence


def test_sensitive_sequences_are_those_whose_perplexity_varies_most():
    toy = Toy("llama", Metric.FEATURE)
    allocations = [toy.blocks(Format.LOW_RANK, fraction) for fraction in (0.9, 0.5, 0.2)]
    found = choose_subset(toy.module, TOKENS, toy.factors.__getitem__, allocations, spec(), ignore_progress)
    spread = torch.stack([perplexities(toy.compressed(blocks)) for blocks in allocations]).std(0)
    assert set(found) == set(spread.argsort(descending=True)[:2].tolist())
    everything = spec(subset=Subset.ALL)
    assert choose_subset(toy.module, TOKENS, toy.factors.__getitem__, [], everything, ignore_progress) == tuple(
        range(6)
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_subset": 7}, "7 of 6 sequences"),
        ({"n_allocations": 1}, "at least 2"),
        ({"divergence_weight": -1.0}, "0 or more"),
        ({"divergence_weight": math.nan}, "0 or more"),
        ({"dtype": "int8"}, "'int8' was given"),
        ({"batch_size": 0}, "at least 1"),
    ],
)
def test_settings_out_of_range_are_sentences(changes, words):
    with pytest.raises(InvalidSpecError, match=words):
        spec(**changes)
