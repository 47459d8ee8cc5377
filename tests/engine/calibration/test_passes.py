"""Collected moments against a literal computation, on real architectures."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from engine.calibration.passes import collect_statistics, gauss_newton_seeds, losses_of, plan_passes
from engine.calibration.sides import is_wide, needs_input_moment, statistics_bytes
from engine.calibration.statistics import LayerStatistics
from engine.errors import NumericalError, ResourceError
from engine.model.inventory import take_inventory
from engine.model.module import weight_matrix
from engine.progress import ignore_progress
from engine.specs import CalibrationSpec, Fisher
from tests.support import toys
from tests.support.tiers import every_architecture

EXACT = CalibrationSpec(compute_dtype="float32")
TOKENS = toys.tokens(5, 16)


def collect(module, inventory, spec=EXACT, layers=None, tokens=TOKENS, n_start=0):
    chosen = range(inventory.n_layers) if layers is None else layers
    return collect_statistics(module, inventory, tokens, spec, chosen, ignore_progress, n_start=n_start)


def literal(module, inventory, tokens):
    """Return x, g (tokens, width) and the weight gradients by batch, from plain autograd."""
    modules = dict(module.named_modules())
    xs, gs, grads = {}, {}, {}
    for start in range(0, len(tokens), EXACT.batch_size):
        batch = tokens[start : start + EXACT.batch_size]
        outputs, hooks = {}, []
        for p in (p for p in inventory.projections if p.experts is None):

            def keep(_, inputs, output, name=p.name, outputs=outputs):
                output.retain_grad()
                outputs[name] = (inputs[0].detach(), output)

            hooks.append(modules[p.name].register_forward_hook(keep))
        module.zero_grad()
        logits = module(input_ids=batch, use_cache=False).logits
        functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten(), reduction="sum").backward()
        for hook in hooks:
            hook.remove()
        for name, (x, output) in outputs.items():
            xs.setdefault(name, []).append(x.flatten(0, -2))
            gs.setdefault(name, []).append(output.grad.flatten(0, -2))
            grads.setdefault(name, []).append(modules[name].weight.grad.clone())
    module.zero_grad()
    return {n: torch.cat(v) for n, v in xs.items()}, {n: torch.cat(v) for n, v in gs.items()}, grads


@every_architecture
def test_moments_and_importances_equal_a_literal_computation(name):
    module = toys.build(name)
    inventory = take_inventory(module)
    collected, nll = collect(module, inventory)
    xs, gs, grads = literal(module, inventory, TOKENS)
    modules = dict(module.named_modules())
    for group in (g for g in inventory.groups if not g.is_stack):
        statistics = collected[group.layer]
        first = group.members[0].name
        n = len(xs[first])
        if needs_input_moment(group):
            torch.testing.assert_close(statistics.inputs[group.name], xs[first].T @ xs[first] / n, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            statistics.means[group.name],
            xs[first].view(len(TOKENS), -1, group.in_features).mean(1),
            rtol=1e-3,
            atol=1e-4,
        )
        for p in group.members:
            w, g = weight_matrix(modules[p.name]).detach(), gs[p.name]
            seen = g if is_wide(p) else g @ w
            expected = seen.T @ seen / (n - len(TOKENS))  # the last token of a sequence has no next one to predict
            scale = expected.abs().max().item()
            torch.testing.assert_close(statistics.gradients[p.name], expected, rtol=1e-3, atol=1e-4 * scale)
            if p.name in statistics.outputs:
                y = xs[p.name] @ w.T
                torch.testing.assert_close(statistics.outputs[p.name], y.T @ y / n, rtol=1e-3, atol=1e-3)
            weight = modules[p.name].weight.detach()
            taylor2 = sum((d * weight).square().sum() for d in grads[p.name]).item()
            taylor1 = sum((d * weight).sum().abs() for d in grads[p.name]).item()
            fisher = sum(d.square().sum() for d in grads[p.name]).item()
            # Where a norm follows, g and w are orthogonal, and what is left of the second is rounding.
            near = {"rel": 1e-3, "abs": 1e-6 * taylor2**0.5}
            assert statistics.importances[p.name].tolist() == pytest.approx([taylor2, taylor1, fisher], **near)
    with torch.no_grad():
        logits = module(input_ids=TOKENS).logits
        mean = functional.cross_entropy(logits[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten()).item()
    assert nll == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("name", ["llama-gqa", "qwen2-moe"])
def test_the_gradients_of_start_tokens_are_left_out_and_nothing_else(name):
    module = toys.build(name)
    inventory = take_inventory(module)
    every, without = (collect(module, inventory, n_start=n)[0] for n in (0, 2))
    _, gs, _ = literal(module, inventory, TOKENS)
    modules = dict(module.named_modules())
    for group in (g for g in inventory.groups if not g.is_stack):
        for kind in ("inputs", "means", "outputs", "importances"):
            for key, tensor in getattr(every[group.layer], kind).items():
                assert torch.equal(tensor, getattr(without[group.layer], kind)[key])
        for p in group.members:
            kept = gs[p.name].view(len(TOKENS), -1, p.out_features)[:, 2:].flatten(0, 1)
            seen = kept if is_wide(p) else kept @ weight_matrix(modules[p.name]).detach()
            expected = seen.T @ seen / (TOKENS.numel() - len(TOKENS))
            scale = expected.abs().max().item()
            torch.testing.assert_close(without[p.layer].gradients[p.name], expected, rtol=1e-3, atol=1e-4 * scale)


IN_PLACE = {
    "falcon": ("FalconForCausalLM", "FalconConfig", {**toys.SMALL, "parallel_attn": True, "bias": True}),
    "llama4": (
        "Llama4ForCausalLM",
        "Llama4TextConfig",
        {**toys.SMALL, "num_local_experts": 2, "intermediate_size_mlp": 96, "num_key_value_heads": 2, "head_dim": 12},
    ),
}
"""Models that add to the output of a projection in place."""


@pytest.mark.parametrize("name", IN_PLACE)
def test_gradients_before_an_addition_in_place_are_those_of_the_projection(name, monkeypatch):
    monkeypatch.setitem(toys.ARCHITECTURES, name, IN_PLACE[name])
    module = toys.build(name)
    inventory = take_inventory(module)
    collected, _ = collect(module, inventory)
    modules = dict(module.named_modules())
    for p in inventory.projections:
        # The gradient at an output is that at a bias of the module; with respect to a zero added before anything else.
        probes = []

        def add_probe(_, __, output, probes=probes):
            probes.append(torch.zeros_like(output, requires_grad=True))
            return output + probes[-1]

        hook = modules[p.name].register_forward_hook(add_probe)
        moment = 0
        for start in range(0, len(TOKENS), EXACT.batch_size):
            batch = TOKENS[start : start + EXACT.batch_size]
            logits = module(input_ids=batch, use_cache=False).logits
            nll = functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten(), reduction="sum")
            (gradient,) = torch.autograd.grad(nll, probes[-1])
            g = gradient.flatten(0, -2)
            seen = g if is_wide(p) else g @ weight_matrix(modules[p.name]).detach()
            moment = moment + seen.T @ seen / TOKENS[:, 1:].numel()
        hook.remove()
        found = collected[p.layer].gradients[p.name]
        torch.testing.assert_close(found, moment, rtol=1e-3, atol=1e-4 * moment.abs().max().item())


def test_the_model_is_left_as_it_was():
    module = toys.build("llama")
    before = {n: (p.clone(), p.requires_grad) for n, p in module.named_parameters()}
    collect(module, take_inventory(module))
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter.requires_grad == before[name][1]
        assert parameter.grad is None
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in module.modules())


def test_passes_over_some_layers_give_the_same_numbers_as_one_over_all():
    module = toys.build("llama-gqa")
    inventory = take_inventory(module)
    whole, _ = collect(module, inventory)
    parts: dict[int, LayerStatistics] = {}
    for layers in ([0], [1, 2]):
        parts |= collect(module, inventory, layers=layers)[0]
    for layer, statistics in whole.items():
        for key, tensor in statistics.to_tensors().items():
            assert torch.equal(tensor, parts[layer].to_tensors()[key]), key


@pytest.mark.parametrize("fisher", [Fisher.SAMPLED, Fisher.GGN])
def test_the_same_spec_gives_the_same_bits(fisher):
    module = toys.build("qwen2")
    inventory = take_inventory(module)
    spec = CalibrationSpec(fisher=fisher, seed=3)
    first, second = (collect(module, inventory, spec)[0] for _ in range(2))
    for layer in first:
        for key, tensor in first[layer].to_tensors().items():
            assert torch.equal(tensor, second[layer].to_tensors()[key]), key


def test_moments_of_two_texts_are_the_mean_of_the_moments():
    module = toys.build("llama")
    inventory = take_inventory(module)
    spec = CalibrationSpec(compute_dtype="float32", batch_size=1)
    whole, _ = collect(module, inventory, spec)
    parts = [collect(module, inventory, spec, tokens=t)[0] for t in (TOKENS[:2], TOKENS[2:])]
    for kind in ("inputs", "outputs", "gradients"):
        for name, moment in getattr(whole[1], kind).items():
            mean = (2 * getattr(parts[0][1], kind)[name] + 3 * getattr(parts[1][1], kind)[name]) / 5
            torch.testing.assert_close(moment, mean, rtol=1e-4, atol=1e-5 * moment.abs().max().item())


def test_bfloat16_passes_still_give_positive_moments():
    module = toys.build("llama")
    inventory = take_inventory(module)
    spec = CalibrationSpec(compute_dtype="bfloat16")
    for statistics in collect(module, inventory, spec)[0].values():
        for moment in (*statistics.inputs.values(), *statistics.gradients.values()):
            assert moment.dtype is torch.float32
            values = torch.linalg.eigvalsh(moment.double())
            assert values.min() >= -1e-6 * values.max()


@pytest.mark.parametrize("fisher", [Fisher.SAMPLED, Fisher.GGN])
def test_other_gradients_change_the_moments_but_not_the_importances(fisher):
    module = toys.build("llama")
    inventory = take_inventory(module)
    true, _ = collect(module, inventory)
    drawn, _ = collect(module, inventory, CalibrationSpec(fisher=fisher, compute_dtype="float32"))
    name = inventory.projections[0].name
    assert not torch.allclose(true[0].gradients[name], drawn[0].gradients[name], rtol=1e-2)
    torch.testing.assert_close(true[0].importances[name], drawn[0].importances[name], rtol=1e-4, atol=0.0)
    group = inventory.groups[0].name
    torch.testing.assert_close(true[0].inputs[group], drawn[0].inputs[group])


def test_sampled_labels_are_drawn_from_what_the_model_predicts_by_the_seed():
    probabilities = torch.tensor([0.7, 0.2, 0.1])
    logits, labels = probabilities.log().expand(10_000, -1), torch.zeros(10_000, dtype=torch.int64)
    spec = CalibrationSpec(fisher=Fisher.SAMPLED)
    generators = (torch.Generator().manual_seed(seed) for seed in (0, 0, 1))
    first, again, other = (losses_of(logits, labels, spec, g)[0].item() / 10_000 for g in generators)
    entropy = -(probabilities * probabilities.log()).sum().item()
    # One draw's loss has a deviation of 0.66; of the likeliest token it is 0.36, of all tokens alike 1.42.
    assert first == pytest.approx(entropy, abs=0.03)
    assert other == pytest.approx(entropy, abs=0.03)
    assert first == again != other


def test_random_signs_have_the_second_derivative_of_the_loss_as_their_moment():
    logits = torch.tensor([0.7, 0.2, 0.1]).log()
    hessian = torch.func.hessian(lambda z: functional.cross_entropy(z, torch.tensor(1)))(logits)
    seeds = gauss_newton_seeds(logits.softmax(-1).expand(40_000, 3), torch.Generator().manual_seed(0))
    torch.testing.assert_close(seeds.T @ seeds / len(seeds), hessian, atol=0.005, rtol=0.0)
    torch.testing.assert_close(seeds.mean(0), torch.zeros(3), atol=0.01, rtol=0.0)


def test_random_signs_and_drawn_labels_estimate_the_same_moments():
    module = toys.build("llama")
    inventory = take_inventory(module)
    tokens = torch.randint(0, 300, (160, 32), generator=torch.Generator().manual_seed(1))
    drawn, signs = (
        collect(module, inventory, CalibrationSpec(fisher=f, compute_dtype="float32", batch_size=16), tokens=tokens)[0]
        for f in (Fisher.SAMPLED, Fisher.GGN)
    )
    for name, moment in drawn[2].gradients.items():
        assert signs[2].gradients[name].trace().item() == pytest.approx(moment.trace().item(), rel=0.05)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_named(value):
    module = toys.build("llama")
    inventory = take_inventory(module)
    with torch.no_grad():
        module.model.layers[1].mlp.up_proj.weight[0, 0] = value
    with pytest.raises(NumericalError, match=r"calibration sequences 0\.\.1"):
        collect(module, inventory)


def test_a_pass_takes_as_many_layers_as_memory_allows_from_the_top():
    inventory = take_inventory(toys.build("llama"))
    one = statistics_bytes([g for g in inventory.groups if g.layer == 0], 5, inventory.downs)
    assert plan_passes(inventory, [0, 1, 2], 5, 10 * one) == [[0, 1, 2]]
    assert plan_passes(inventory, [0, 1, 2], 5, 2 * one) == [[1, 2], [0]]
    assert plan_passes(inventory, [0, 2], 5, one) == [[2], [0]]
    with pytest.raises(ResourceError, match="--memory-gb") as caught:
        plan_passes(inventory, [0], 5, one - 1)
    enough = float(str(caught.value).removesuffix(".").rpartition(" ")[2])
    assert plan_passes(inventory, [0], 5, int(enough * 1e9)) == [[0]]
    assert enough * 1e9 < 1.02 * one


def test_statistics_survive_being_flattened():
    module = toys.build("llama")
    statistics = collect(module, take_inventory(module), layers=[1])[0][1]
    again = LayerStatistics.from_tensors(1, statistics.to_tensors())
    assert again.to_tensors().keys() == statistics.to_tensors().keys()
    assert again.n_tokens == TOKENS.numel()
