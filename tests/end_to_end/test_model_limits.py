"""Models that cannot do everything: what they can is done, and the rest is one sentence."""

from __future__ import annotations

import pytest

from engine.errors import InvalidSpecError
from engine.evaluation.specs import CostSpec
from engine.methods.allocate import allocate_rank_map
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.measure.plan import Plan, measure_all
from engine.pipeline.reading.analyses import curves_by_metric
from engine.pipeline.sensitivity import measure_each_projection
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import Budget
from tests.end_to_end.test_chain import evaluation_spec, run
from tests.support import toys

OTHERS = {
    "lfm2": (
        "Lfm2ForCausalLM",
        "Lfm2Config",
        {**toys.SMALL, "num_key_value_heads": 2, "layer_types": ["conv", "full_attention", "conv"]},
    ),
    "openai-gpt": (
        "OpenAIGPTLMHeadModel",
        "OpenAIGPTConfig",
        {"vocab_size": 320, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 128},
    ),
}


@pytest.fixture
def others(monkeypatch):
    """Let toys be built of models that keep other things than keys and values of every layer."""
    for name, settings in OTHERS.items():
        monkeypatch.setitem(toys.ARCHITECTURES, name, settings)


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_without_keys_and_values_is_measured_in_every_other_way(
    name, others, tmp_path, model_folder, text_file
):
    home, said = Home(tmp_path), []
    analysis = run(home, model_folder(name), text_file)
    budget = Budget.of_kept_fraction(0.7, analysis.inventory.compressible_params)
    rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), "water-filling", budget)
    cost = CostSpec(prompt_tokens=16, new_tokens=2, batch_sizes=(1,), repetitions=1)
    plan = Plan((evaluation_spec(text_file),), cost=cost)
    dense, row = measure_all(home, analysis.id, [rank_map], plan, lambda *args: said.append(args[2]), device="cpu")
    assert row.perplexities[0].perplexity > 0 < dense.perplexities[0].perplexity
    if name == "lfm2":
        (found,) = row.costs
        assert found.cache_bytes_per_token == 2 * 2 * 12 * 4  # keys and values of its one layer with attention
    else:
        assert not row.costs
        assert any("OpenAIGPTLMHeadModel cannot be measured" in sentence for sentence in said)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_sequences_longer_than_the_model_was_built_for_are_refused_everywhere(name, tmp_path, model_folder, text_file):
    home, expected = Home(tmp_path), "of 129 tokens were asked for, but the model has 128 positions"
    with pytest.raises(InvalidSpecError, match=expected):
        run(home, model_folder(name), text_file, length=129)
    analysis = run(home, model_folder(name), text_file, length=128, n_sequences=2)
    long = CorpusSpec.parse(str(text_file), part="evaluation", n_sequences=2, length=129)
    with pytest.raises(InvalidSpecError, match=expected):
        EvaluationSession(home, analysis.id, EvaluationSpec(long), ignore_progress, device="cpu")
    with pytest.raises(InvalidSpecError, match=expected):
        measure_each_projection(home, analysis.id, long, 0.5, ignore_progress, device="cpu")
