"""Statistics of experts against plain autograd, expert by expert, and what those with few tokens take."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from engine.calibration.passes import collect_statistics
from engine.calibration.sides import is_wide, statistics_bytes
from engine.calibration.statistics import LayerStatistics
from engine.factorization import factorize
from engine.model.inventory import take_inventory
from engine.model.stacks import part_named
from engine.progress import ignore_progress
from engine.specs import CalibrationSpec
from engine.types import Metric
from tests.support import toys

TOKENS = toys.tokens(20, 24)
SPEC = CalibrationSpec(compute_dtype="float32", batch_size=3)
EXPERTS = ["mixtral", "qwen2-moe", "qwen3-moe"]
"""With gate and up tall and down wide, the other way round, and both tall."""


def collect(module, inventory, tokens=TOKENS, n_start=0):
    return collect_statistics(module, inventory, tokens, SPEC, range(3), ignore_progress, n_start=n_start)[0]


class Literal:
    """Inputs and output gradients (tokens, width) of every expert of one layer, from a loop over tokens and experts."""

    def __init__(self, module, layer, n_start=0):
        self.xs, self.gs, self.weight_grads = {}, {}, {}
        experts = module.model.layers[layer].mlp.experts
        stacks = {"gate_up_proj": experts.gate_up_proj, "down_proj": experts.down_proj}
        kept = []

        def forward(hidden, index, shares):
            length, total = TOKENS.shape[1], torch.zeros_like(hidden)
            for token, (chosen, weights) in enumerate(zip(index, shares, strict=True)):
                for e, share in zip(chosen.tolist(), weights, strict=True):
                    x = hidden[token]
                    y = experts.gate_up_proj[e] @ x
                    y.retain_grad()
                    gate, up = y.chunk(2)
                    h = experts.act_fn(gate) * up
                    out = experts.down_proj[e] @ h
                    out.retain_grad()
                    is_start = token % length < n_start
                    kept.extend([("gate_up_proj", e, x, y, is_start), ("down_proj", e, h, out, is_start)])
                    total = total.index_add(0, torch.tensor([token]), (share * out)[None])
            return total

        experts.forward = forward
        for batch in TOKENS.split(SPEC.batch_size):
            kept.clear()
            module.zero_grad()
            logits = module(input_ids=batch, use_cache=False).logits
            functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten(), reduction="sum").backward()
            for side, e, x, y, is_start in kept:
                self.xs.setdefault((side, e), []).append(x.detach())
                self.gs.setdefault((side, e), []).append(y.grad * (not is_start))
            for side, stack in stacks.items():
                self.weight_grads.setdefault(side, []).append(stack.grad.clone())
        del experts.forward
        module.zero_grad()

    def of(self, side, e, width):
        rows = [
            torch.stack(found[side, e]) if (side, e) in found else torch.zeros(0, 0) for found in (self.xs, self.gs)
        ]
        return rows if len(rows[0]) else [torch.zeros(0, width[0]), torch.zeros(0, width[1])]


def assert_near(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("n_start", [0, 2])
@pytest.mark.parametrize("name", EXPERTS)
def test_moments_of_experts_equal_a_literal_computation(name, n_start):
    module = toys.build(name)
    inventory = take_inventory(module)
    statistics = collect(module, inventory, n_start=n_start)[1]
    literal = Literal(module, 1, n_start)
    n_scored = TOKENS.numel() - len(TOKENS)
    for p in (p for p in inventory.projections if p.layer == 1 and p.experts is not None):
        side = p.name.rpartition(".")[2]
        weight = part_named(module, p.name).weight.detach()
        seen, felt = [], []
        for e in range(p.matrices):
            x, g = literal.of(side, e, (p.in_features, p.out_features))
            assert statistics.counts[p.name][e] == len(x)
            seen.append(x)
            felt.append(g)
            values, gradients = (x @ weight[e].T, g) if is_wide(p) else (x, g @ weight[e])
            found = (statistics.outputs if is_wide(p) else statistics.inputs)[p.name][e]
            if len(x):
                assert_near(found, values.T @ values / TOKENS.numel())
                assert_near(statistics.gradients[p.name][e], gradients.T @ gradients / n_scored)
        if p.name in statistics.common:
            shared, n = (seen, TOKENS.numel()) if p.experts.share_input else (felt, n_scored)
            assert_near(statistics.common[p.name], torch.cat(shared).T @ torch.cat(shared) / n)
        taylor2 = sum((d * weight).square().sum() for d in literal.weight_grads[side]).item()
        fisher = sum(d.square().sum() for d in literal.weight_grads[side]).item()
        assert statistics.importances[p.name][[0, 2]].tolist() == pytest.approx([taylor2, fisher], rel=1e-3)


@pytest.mark.parametrize("name", EXPERTS)
def test_the_module_runs_as_before_and_the_bytes_are_those_that_are_told(name):
    module = toys.build(name)
    inventory = take_inventory(module)
    experts = [m for n, m in module.named_modules() if n.endswith(".experts")]
    statistics = collect(module, inventory)[0]
    assert [m for n, m in module.named_modules() if n.endswith(".experts")] == experts
    for group in (g for g in inventory.groups if g.is_stack and g.layer == 0):
        kinds = (statistics.inputs, statistics.outputs, statistics.gradients, statistics.common)
        held = sum(kind[group.name].nbytes for kind in kinds if group.name in kind)
        assert held == statistics_bytes([group], len(TOKENS), inventory.downs)


def test_runs_of_sequences_are_added():
    module = toys.build("qwen2-moe")
    inventory = take_inventory(module)
    whole = collect(module, inventory)[0]
    runs = [collect(module, inventory, part)[0] for part in TOKENS.split([8, 12])]
    stored = [LayerStatistics.from_tensors(0, run.to_tensors()) for run in runs]
    merged = LayerStatistics.merged(iter(stored), TOKENS.numel())
    for kind in ("inputs", "outputs", "gradients", "common"):
        for name, moment in getattr(whole, kind).items():
            if "experts" in name:
                assert_near(getattr(merged, kind)[name], moment)
    for name, counts in whole.counts.items():
        assert torch.equal(merged.counts[name], counts)
        assert counts.sum() == 2 * TOKENS.numel()


@pytest.mark.parametrize("name", EXPERTS)
def test_predicted_losses_are_the_second_order_loss_of_the_truncated_weights(name):
    """Half the sum over experts of their tokens' share times tr(H D G D^T), with the moments of its tokens."""
    module = toys.build(name)
    inventory = take_inventory(module)
    statistics, literal = collect(module, inventory)[1], Literal(module, 1)
    for group in (g for g in inventory.groups if g.is_stack and g.layer == 1):
        (p,) = group.members
        weight = part_named(module, p.name).weight.detach()
        side = p.name.rpartition(".")[2]
        for metric in (Metric.LOSS, Metric.INPUT, Metric.WEIGHT, Metric.FEATURE):
            (factors,) = factorize(group, {p.name: weight}, statistics, metric, 1e-9)
            left, right = factors.at_rank(5, weight)
            expected = 0.0
            for e in range(p.matrices):
                x, g = literal.of(side, e, (p.in_features, p.out_features))
                if len(x) < min(p.in_features, p.out_features):
                    pytest.fail("the text is too short for this test")
                lost = (weight[e] - left[e] @ right[e]).double()
                h = g.double().T @ g.double() / len(x) * TOKENS.numel() / (TOKENS.numel() - len(TOKENS))
                c = x.double().T @ x.double() / len(x)
                expected += len(x) / TOKENS.numel() / 2 * (h @ lost @ c @ lost.T).trace().item()
            assert factors.nats[5].item() == pytest.approx(expected, rel=1e-2), metric
        assert factors.offset is None


@pytest.mark.parametrize("name", EXPERTS)
def test_an_expert_with_few_tokens_takes_what_experts_have_in_common(name):
    module = toys.build(name)
    inventory = take_inventory(module)
    statistics = collect(module, inventory)[1]
    for group in (g for g in inventory.groups if g.is_stack and g.layer == 1):
        (p,) = group.members
        weight = part_named(module, p.name).weight.detach()
        counts = statistics.counts[p.name].clone()
        counts[0], counts[1] = min(p.out_features, p.in_features) - 1, 0
        few = dataclasses.replace(statistics, counts={p.name: counts})
        (own,), (taken,) = (factorize(group, {p.name: weight}, s, Metric.LOSS, 1e-9) for s in (statistics, few))
        assert torch.equal(own.basis[2:], taken.basis[2:])
        assert not torch.equal(own.basis[0], taken.basis[0])
        assert torch.isfinite(taken.basis).all()
        left, right = taken.at_rank(min(p.out_features, p.in_features), weight)
        torch.testing.assert_close(left @ right, weight, rtol=1e-3, atol=1e-3)
