"""Compressed models as transformers runs them: generation, checkpointing, copies, threads, modes, compilation."""

from __future__ import annotations

import copy
import threading
from collections import Counter
from functools import cache

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from engine.compression.layers import LowRankInner, SharedInner, SkipInner
from engine.types import Format
from tests.engine.compression.test_apply import FACTORED, TOKENS, Toy
from tests.support import toys
from tests.support.tiers import every_architecture, sweep_unless


@cache
def toy(name: str) -> Toy:
    return Toy(name)


def compressed(name: str, storage: Format = Format.SKIP_CAT, fraction: float = 0.6) -> nn.Module:
    made = toy(name)
    return copy.deepcopy(made.compressed(made.blocks(storage, fraction)))


def without_sharing(model: nn.Module) -> nn.Module:
    """Return a copy in which every member computes the inner factor itself."""
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if isinstance(getattr(module, "inner", None), SharedInner):
            module.inner = module.inner.inner
    return plain


class Calls:
    """Counts runs of every inner factor and of the whole model, through hooks."""

    def __init__(self, model: nn.Module) -> None:
        self.counts: Counter[nn.Module] = Counter()
        self.model = model
        for module in (model, *model.modules()):
            if module is model or isinstance(module, (LowRankInner, SkipInner)):
                module.register_forward_hook(lambda m, *_: self.counts.update([m]))

    def assert_once_per_pass(self) -> None:
        passes = self.counts.pop(self.model) // 2  # its hook is registered twice
        assert passes
        assert set(self.counts.values()) == {passes}


@every_architecture
@pytest.mark.parametrize("sample", [False, True])
def test_generation_computes_every_inner_factor_once_per_step(name, sample):
    model = compressed(name)
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": sample}
    settings["attention_mask"] = torch.ones(3, 5, dtype=torch.long)
    settings["attention_mask"][0, :2] = 0  # one sequence is shorter, padded on the left
    torch.manual_seed(3)
    expected = without_sharing(model).generate(TOKENS[:3, :5], **settings)
    calls = Calls(model)
    torch.manual_seed(3)
    assert torch.equal(model.generate(TOKENS[:3, :5], **settings), expected)
    calls.assert_once_per_pass()


@every_architecture
def test_a_batch_gives_what_its_sequences_give_alone(name):
    model = compressed(name)
    with torch.no_grad():
        together = model(input_ids=TOKENS).logits
        alone = torch.cat([model(input_ids=row[None]).logits for row in TOKENS])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3 * together.abs().max().item())


def embedding_gradient(model: nn.Module) -> torch.Tensor:
    weight = model.get_input_embeddings().weight
    weight.grad = None
    logits = model(input_ids=TOKENS, use_cache=False).logits[:, :-1]
    functional.cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten()).backward()
    return weight.grad.clone()


@every_architecture
def test_checkpointing_leaves_every_gradient_as_it_is(name):
    model = compressed(name).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    expected = embedding_gradient(model)
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    assert any(n.endswith("mix.weight") for n in gradients)
    torch.testing.assert_close(embedding_gradient(without_sharing(model)), expected, rtol=1e-4, atol=1e-6)
    calls = Calls(model)
    for reentrant in (False, True):
        model.activation_checkpointing_enable({"use_reentrant": reentrant})
        for _ in range(2):
            model.zero_grad()
            calls.counts.clear()
            torch.testing.assert_close(embedding_gradient(model), expected, rtol=1e-4, atol=1e-6)
            for parameter_name, parameter in model.named_parameters():
                if parameter_name in gradients:
                    torch.testing.assert_close(parameter.grad, gradients[parameter_name], rtol=1e-4, atol=1e-6)
            del calls.counts[model]
            assert set(calls.counts.values()) == {2}  # forward, and once more on the way back


@every_architecture
def test_a_copy_computes_the_same_and_shares_nothing(name):
    model = compressed(name)
    twin = copy.deepcopy(model)
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in twin.parameters()}
    calls = Calls(twin)
    with torch.no_grad():
        assert torch.equal(twin(input_ids=TOKENS).logits, model(input_ids=TOKENS).logits)
    calls.assert_once_per_pass()


def test_threads_run_one_model_side_by_side():
    model = compressed("llama-gqa")
    batches = [toys.tokens(2, 12, seed) for seed in range(4)]
    with torch.no_grad():
        expected = [model(input_ids=batch).logits for batch in batches]
    faults = []

    @torch.no_grad()
    def work(i: int) -> None:
        for _ in range(5):
            if not torch.equal(model(input_ids=batches[i]).logits, expected[i]):
                faults.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


@every_architecture
def test_inference_mode_gives_the_same_numbers_with_the_same_work(name):
    model = compressed(name)
    with torch.no_grad():
        expected = model(input_ids=TOKENS).logits
    calls = Calls(model)
    with torch.inference_mode():
        assert torch.equal(model(input_ids=TOKENS).logits, expected)
    calls.assert_once_per_pass()


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return ((actual.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("storage", FACTORED)
def test_half_precision_is_no_worse_than_the_dense_models(storage, dtype):
    """At full rank nothing but rounding is left; factored layers round twice where a dense one rounds once."""
    made = toy("llama-gqa")
    model = compressed("llama-gqa", storage, 1.0)
    with torch.no_grad():
        exact = made.module(input_ids=TOKENS).logits
        dense = relative_error(copy.deepcopy(made.module).to(dtype)(input_ids=TOKENS).logits, exact)
        half = model.to(dtype)
        assert {p.dtype for p in half.parameters()} == {dtype}
        assert {b.dtype for n, b in half.named_buffers() if n.endswith("columns")} <= {torch.int32}
        assert relative_error(half(input_ids=TOKENS).logits, exact) < 4 * dense


@every_architecture
def test_autocast_runs_every_format_as_near_as_the_dense_model(name):
    made = toy(name)
    for storage in FACTORED:
        model = compressed(name, storage, 1.0)
        with torch.no_grad():
            exact = made.module(input_ids=TOKENS).logits
            with torch.autocast("cpu", dtype=torch.bfloat16):
                dense = relative_error(made.module(input_ids=TOKENS).logits, exact)
                assert relative_error(model(input_ids=TOKENS).logits, exact) < 4 * dense
            assert relative_error(model(input_ids=TOKENS).logits, exact) < 2e-2


@every_architecture
def test_a_state_dict_goes_into_a_model_of_the_same_ranks(name):
    model = compressed(name)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
        assert not torch.equal(other(input_ids=TOKENS).logits, model(input_ids=TOKENS).logits)
        other.load_state_dict(model.state_dict())
        assert torch.equal(other(input_ids=TOKENS).logits, model(input_ids=TOKENS).logits)


def test_shared_factors_are_listed_and_saved_once(tmp_path):
    model = compressed("llama")
    mixes = [n for n in model.state_dict() if n.endswith("mix.weight") and n.startswith("model.layers.0.self_attn.")]
    assert sorted(n.split(".")[4] for n in mixes) == ["o_proj", "q_proj"]
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    stored = sum(p.numel() * p.element_size() for p in model.parameters())
    stored += sum(b.nbytes for n, b in model.named_buffers() if n.endswith("columns"))
    assert stored <= (tmp_path / "model.safetensors").stat().st_size <= stored + 20_000
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
        other.load_state_dict(load_file(tmp_path / "model.safetensors"))
        assert torch.equal(other(input_ids=TOKENS).logits, model(input_ids=TOKENS).logits)


def test_a_model_moves_between_devices_with_its_columns():
    model = compressed("llama").to("meta")
    assert {t.device.type for t in (*model.parameters(), *model.buffers())} == {"meta"}


def linear_calls(graph: torch.fx.GraphModule) -> int:
    return sum(node.target is functional.linear for node in graph.graph.nodes)


@pytest.mark.parametrize("storage", sweep_unless(FACTORED, {Format.SKIP_CAT, Format.WIDTH}))
def test_compiled_graphs_hold_every_inner_factor_once(storage):
    """q, k, v, o, gate, up, down have a left factor each; inner factors are one per projection or per group."""
    model = compressed("llama", storage)
    seen = []

    def backend(graph, _):
        seen.append(linear_calls(graph))
        return graph.forward

    with torch.no_grad():
        expected = model(input_ids=TOKENS, use_cache=False).logits
        torch.compiler.reset()
        run = torch.compile(model, backend=backend)
        for _ in range(2):
            torch.testing.assert_close(run(input_ids=TOKENS, use_cache=False).logits, expected)
    per_layer = 7 if storage is Format.WIDTH else 7 + (4 if storage.is_shared else 7)
    assert sum(seen) == 3 * per_layer + 1
    assert all(m._traced is None for m in model.modules() if isinstance(m, SharedInner))


@pytest.mark.long
def test_inductor_compiles_a_group_in_one_piece():
    attention = compressed("llama").model.layers[0].self_attn
    members = nn.ModuleList([attention.q_proj, attention.k_proj, attention.v_proj])

    class Group(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.members = members

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = 2 * x
            return torch.cat([member(x) for member in self.members], dim=-1)

    group, x = Group(), torch.randn(3, 48)
    with torch.no_grad():
        torch.compiler.reset()
        torch.testing.assert_close(torch.compile(group, fullgraph=True)(x), group(x), rtol=1e-4, atol=1e-4)
