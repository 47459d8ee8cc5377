"""What running a model costs: counts that a formula gives, times of the same work, memory of a process of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn
from transformers.pytorch_utils import Conv1D

from engine.compression.apply import compress
from engine.errors import InvalidSpecError, ModelError
from engine.evaluation.cost import count_token_cost, spread, time_beside
from engine.evaluation.memory import measure_peak_memory
from engine.evaluation.specs import CostSpec, MemorySpec
from engine.formats import block_params
from engine.model.module import weight_matrix
from engine.progress import ignore_progress
from engine.types import RANK_FORMATS, BlockRank
from tests.support import architectures, toys

SPEC = CostSpec(prompt_tokens=20, new_tokens=3, batch_sizes=(1, 2), repetitions=2)


def linear_params(module):
    """Return the entries of every weight that a token is multiplied with, without the head."""
    head = module.get_output_embeddings()
    linears = [m for m in module.modules() if isinstance(m, (nn.Linear, Conv1D)) and m is not head]
    return sum(weight_matrix(m).numel() for m in linears)


def expected(module, n_context, n_read, linear):
    """Multiply-adds per token: every linear weight once, two products with the context per layer, the head once."""
    config = module.config
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    head = module.get_output_embeddings().weight.numel()
    return linear + 2 * config.num_hidden_layers * width * n_context + head / n_read


@pytest.mark.parametrize("name", ["llama", "llama-gqa", "qwen3", "gemma", "phi3", "opt", "gpt2"])
def test_counted_multiply_adds_are_those_of_the_formula(name):
    module = toys.build(name)
    found = count_token_cost(module, SPEC)
    linear = linear_params(module)
    assert found.prefill_multiply_adds == pytest.approx(expected(module, 20, 20, linear), rel=1e-3)
    assert found.decode_multiply_adds == pytest.approx(expected(module, 21, 1, linear), rel=1e-3)


def test_every_token_counts_the_experts_it_is_sent_to():
    module = architectures.build("qwen3_moe")
    at_once = count_token_cost(module, SPEC)
    module.set_experts_implementation("eager")
    assert at_once == count_token_cost(module, SPEC)
    config = module.config
    experts = (
        config.num_hidden_layers * config.num_experts_per_tok * 3 * config.hidden_size * config.moe_intermediate_size
    )
    routers = config.num_hidden_layers * config.num_experts * config.hidden_size
    found, linear = at_once.decode_multiply_adds, linear_params(module) + experts + routers
    assert found == pytest.approx(expected(module, 21, 1, linear), rel=1e-3)


def test_what_runs_on_every_cached_token_is_counted_as_often():
    module = architectures.build("deepseek_v3")
    spread_out = [m for name, m in module.named_modules() if name.endswith("kv_b_proj")]
    head_widths = 4 * (24 + 16)  # of keys and of values
    longer = count_token_cost(module, replace(SPEC, prompt_tokens=40))
    grown = longer.decode_multiply_adds - count_token_cost(module, SPEC).decode_multiply_adds
    assert grown == 20 * (sum(m.weight.numel() for m in spread_out) + 3 * head_widths)


def test_the_cache_holds_keys_and_values_of_every_layer():
    module = toys.build("llama-gqa")
    assert count_token_cost(module, SPEC).cache_bytes_per_token == 3 * 2 * (2 * 12) * 4
    assert count_token_cost(module.bfloat16(), SPEC).cache_bytes_per_token == 3 * 2 * (2 * 12) * 2


@pytest.mark.parametrize("form", sorted(RANK_FORMATS))
def test_a_factored_block_costs_the_parameters_of_its_format(form):
    module, inventory, factors = toys.factored("llama", toys.tokens(4, 32))
    group = next(g for g in inventory.groups if len(g.members) > 1)
    members = tuple(p.name for p in group.members) if form.is_shared else (group.members[0].name,)
    block = BlockRank(members, form, 10)
    compressed = compress(module, [block], factors.__getitem__)
    dense, cheap = count_token_cost(module, SPEC), count_token_cost(compressed, SPEC)
    projections = inventory.by_name
    saved = sum(projections[name].params for name in members) - block_params(block, projections)
    assert dense.decode_multiply_adds - cheap.decode_multiply_adds == saved
    assert dense.prefill_multiply_adds - cheap.prefill_multiply_adds == pytest.approx(saved)


def test_models_take_turns_and_the_first_round_does_not_count():
    order = []
    modules = [toys.build("llama"), toys.build("llama", seed=1)]
    for index, module in enumerate(modules):
        module.register_forward_pre_hook(lambda *_, index=index: order.append(index))
    first, second = time_beside(modules, 2, SPEC, ignore_progress)
    rounds = np.array(order).reshape(SPEC.repetitions + 1, 2, 1 + SPEC.new_tokens)
    assert (rounds[:, 0] == 0).all()
    assert (rounds[:, 1] == 1).all()
    for seconds in (first, second):
        assert len(seconds.prefill) == len(seconds.decode) == SPEC.repetitions
        assert min(*seconds.prefill, *seconds.decode) > 0


def test_spread_is_the_median_with_its_quartiles():
    assert spread([4.0, 1.0, 2.0, 3.0, 5.0]) == {"median": 3.0, "low": 2.0, "high": 4.0}


def test_what_makes_no_sense_is_one_sentence():
    with pytest.raises(InvalidSpecError, match="at least 1"):
        CostSpec(repetitions=0)
    with pytest.raises(InvalidSpecError, match="at least 1"):
        CostSpec(batch_sizes=())
    with pytest.raises(InvalidSpecError, match="128 positions"):
        count_token_cost(toys.build("llama"), CostSpec(prompt_tokens=200))
    with pytest.raises(InvalidSpecError, match="int8"):
        MemorySpec("int8")


def test_memory_is_that_of_the_folder_and_not_of_this_process(tmp_path):
    toys.build("llama").save_pretrained(tmp_path / "model")
    held = np.ones(1_500_000_000 // 8)
    found = measure_peak_memory(tmp_path / "model", MemorySpec(n_tokens=16))
    assert held.nbytes == 1_500_000_000
    assert 50_000_000 < found.base_bytes <= found.peak_bytes < 1_200_000_000


@pytest.mark.usefixtures("warm_starts")
def test_a_folder_that_does_not_run_is_one_sentence(tmp_path):
    with pytest.raises(ModelError, match="could not be measured") as raised:
        measure_peak_memory(tmp_path, MemorySpec())
    assert "\n" not in str(raised.value)
