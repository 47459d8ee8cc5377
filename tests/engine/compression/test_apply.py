"""Rank maps applied to real architectures, measured beside the dense model."""

from __future__ import annotations

import gc
import itertools
import math
import weakref
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from engine.calibration.passes import collect_statistics
from engine.compression.apply import balanced, compress
from engine.errors import NumericalError
from engine.evaluation.perplexity import measure, take_reference
from engine.evaluation.sensitivity import measure_sensitivity
from engine.factorization import factorize
from engine.factorization.neurons import order_neurons
from engine.formats import max_useful_rank
from engine.model.inventory import take_inventory
from engine.model.module import weight_matrix
from engine.model.stacks import part_named
from engine.progress import ignore_progress
from engine.specs import CalibrationSpec, CorpusSource, CorpusSpec, EvaluationSpec
from engine.types import RANK_FORMATS, BlockRank, Format, Metric
from tests.support import toys
from tests.support.tiers import every_architecture

SPEC = EvaluationSpec(CorpusSpec(CorpusSource.FILE, "x", n_sequences=4, length=20), batch_size=3)
TOKENS = toys.tokens(4, 20, seed=9)


class Toy:
    """A toy model with the factors of every block in one metric."""

    def __init__(self, name: str, metric: Metric = Metric.LOSS, **changes: int) -> None:
        self.module = toys.build(name, **changes)
        self.inventory = take_inventory(self.module)
        layers = range(self.inventory.n_layers)
        spec = CalibrationSpec(compute_dtype="float32")
        statistics, _ = collect_statistics(
            self.module, self.inventory, toys.tokens(8, 24), spec, layers, ignore_progress
        )
        names = [p.name for p in self.inventory.projections]
        self.weights = {name: weight_matrix(part_named(self.module, name)).detach() for name in names}
        self.factors = {
            f.members: f
            for g in self.inventory.groups
            for f in factorize(g, self.weights, statistics[g.layer], metric, 1e-6)
        }
        modules = dict(self.module.named_modules())
        for mlp in self.inventory.mlps if metric is Metric.LOSS else ():
            has_bias = modules[mlp.down.name].bias is not None
            neurons = order_neurons(mlp, self.weights, statistics[mlp.layer], 1e-6, has_bias=has_bias)
            self.factors[neurons.members] = neurons
        self.projections = self.inventory.by_name

    def blocks(self, storage: Format, fraction: float) -> list[BlockRank]:
        """Every group, or every MLP, in one format at a fraction of its largest rank."""
        result = []
        if storage is Format.WIDTH:
            members = {mlp: tuple(p.name for p in mlp.members) for mlp in self.inventory.mlps}
            return [BlockRank(names, storage, max(1, int(fraction * m.neurons))) for m, names in members.items()]
        for group in self.inventory.groups:
            shared = storage.is_shared and len(group.members) > 1
            names = [tuple(p.name for p in group.members)] if shared else [(p.name,) for p in group.members]
            skips = storage.skips and not group.is_stack
            plain = storage if shared else Format.SKIP if skips else Format.LOW_RANK
            for members in names:
                full = len(self.factors[members].energies)
                result.append(BlockRank(members, plain, max(1, int(fraction * full))))
        return result

    def compressed(self, blocks):
        return compress(self.module, blocks, self.factors.__getitem__)


FACTORED = [f for f in Format if f is not Format.DENSE]


@every_architecture
def test_full_rank_in_every_format_keeps_the_logits(name):
    toy = Toy(name)
    expected = toy.module(input_ids=TOKENS).logits
    for storage in FACTORED:
        actual = toy.compressed(toy.blocks(storage, 1.0))(input_ids=TOKENS).logits
        torch.testing.assert_close(actual, expected, rtol=2e-2, atol=2e-2 * expected.abs().max().item())


@every_architecture
def test_skip_forms_predict_what_their_low_rank_forms_do(name):
    toy = Toy(name)
    for plain, skipping in ((Format.LOW_RANK, Format.SKIP), (Format.CAT, Format.SKIP_CAT)):
        low = toy.compressed(toy.blocks(plain, 0.5))(input_ids=TOKENS).logits
        skip = toy.compressed(toy.blocks(skipping, 0.5))(input_ids=TOKENS).logits
        torch.testing.assert_close(skip, low, rtol=1e-2, atol=1e-2 * low.abs().max().item())


def test_balancing_changes_no_bit_of_the_product():
    left, right = torch.randn(6, 4), torch.randn(4, 9) * torch.tensor([1e-7, 1.0, 0.0, 1e6])[:, None]
    new_left, new_right = balanced(left, right)
    assert torch.equal(new_left @ new_right, left @ right)
    norms = new_right.norm(dim=1)
    assert ((norms >= 0.5) & (norms <= 1) | (norms == 0)).all()


def test_untouched_weights_are_shared_and_the_dense_model_is_unchanged():
    toy = Toy("llama")
    before = toy.module(input_ids=TOKENS).logits
    compressed = toy.compressed(toy.blocks(Format.SKIP_CAT, 0.3)[:2])
    assert compressed.model.embed_tokens.weight is toy.module.model.embed_tokens.weight
    assert compressed.model.layers[2].mlp.up_proj.weight is toy.module.model.layers[2].mlp.up_proj.weight
    assert torch.equal(toy.module(input_ids=TOKENS).logits, before)
    assert not torch.equal(compressed(input_ids=TOKENS).logits, before)


def test_blocks_at_the_same_rank_are_shared_while_a_model_has_them():
    toy = Toy("llama-gqa")
    blocks = toy.blocks(Format.SKIP_CAT, 0.5)
    known: weakref.WeakValueDictionary = weakref.WeakValueDictionary()

    def applied(wanted):
        return compress(toy.module, wanted, toy.factors.__getitem__, known)

    first = applied(blocks)
    changed, *others = blocks
    second = applied([replace(changed, rank=changed.rank - 1), *others])
    names = {name: block is not changed for block in blocks for name in block.members}
    assert {name: first.get_submodule(name) is second.get_submodule(name) for name in names} == names
    assert torch.equal(applied(blocks)(input_ids=TOKENS).logits, toy.compressed(blocks)(input_ids=TOKENS).logits)
    del first, second
    gc.collect()
    assert not known


@pytest.mark.parametrize("storage", FACTORED)
def test_generate_gives_the_same_tokens_with_and_without_a_cache(storage):
    toy = Toy("llama-gqa")
    compressed = toy.compressed(toy.blocks(storage, 0.6))
    kept = compressed.generate(TOKENS[:2, :5], max_new_tokens=8, do_sample=False)
    plain = compressed.generate(TOKENS[:2, :5], max_new_tokens=8, do_sample=False, use_cache=False)
    assert torch.equal(kept, plain)


@pytest.mark.parametrize("storage", sorted(RANK_FORMATS))
@pytest.mark.parametrize("fraction", [0.3, 0.8])
def test_feature_factors_move_the_bias_so_that_the_mean_output_is_kept(storage, fraction):
    toy = Toy("gpt2", Metric.FEATURE)
    compressed = toy.compressed(toy.blocks(storage, fraction))
    name = toy.inventory.groups[0].members[0].name
    dense, cut = (dict(m.named_modules())[name] for m in (toy.module, compressed))
    mean = toy.factors[name,].offset
    torch.testing.assert_close(cut(mean), dense(mean), rtol=1e-3, atol=1e-3)


def test_perplexity_divergence_and_agreement_equal_their_definitions():
    toy = Toy("llama")
    compressed = toy.compressed(toy.blocks(Format.LOW_RANK, 0.4))
    whole = EvaluationSpec(SPEC.corpus, batch_size=3, top_k=320)
    reference = take_reference(toy.module, TOKENS, whole, ignore_progress)
    found = measure(compressed, TOKENS, reference, whole, ignore_progress)
    with torch.no_grad():
        dense, cut = (m(input_ids=TOKENS).logits[:, :-1].log_softmax(-1) for m in (toy.module, compressed))
    labels = TOKENS[:, 1:, None]
    assert found.nll == pytest.approx(-cut.gather(-1, labels).mean().item(), rel=1e-5)
    assert found.dense_nll == pytest.approx(-dense.gather(-1, labels).mean().item(), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(found.nll))
    divergence = functional.kl_div(cut, dense, log_target=True, reduction="none").sum(-1).mean().item()
    assert found.divergence == pytest.approx(divergence, rel=1e-3)
    assert found.agreement == pytest.approx((dense.argmax(-1) == cut.argmax(-1)).float().mean().item())
    assert found.n_tokens == 4 * 19


@pytest.mark.parametrize("top_k", [1, 4, 320])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_model_agrees_with_itself_in_every_type(dtype: torch.dtype, top_k: int):
    """In half precision the first place is often shared, and which token a sort names first is no rule."""
    module = toys.build("llama").to(dtype)
    spec = EvaluationSpec(SPEC.corpus, top_k=top_k)
    reference = take_reference(module, TOKENS, spec, ignore_progress)
    assert measure(module, TOKENS, reference, spec, ignore_progress).agreement == 1.0


def test_divergence_over_fewer_tokens_is_a_lower_bound_and_zero_for_the_dense_model():
    toy = Toy("llama")
    compressed = toy.compressed(toy.blocks(Format.LOW_RANK, 0.4))
    found = []
    for top_k in (4, 20, 320):
        spec = EvaluationSpec(SPEC.corpus, batch_size=2, top_k=top_k)
        reference = take_reference(toy.module, TOKENS, spec, ignore_progress)
        assert measure(toy.module, TOKENS, reference, spec, ignore_progress).divergence == pytest.approx(0, abs=1e-5)
        found.append(measure(compressed, TOKENS, reference, spec, ignore_progress).divergence)
    assert all(a <= b + 1e-6 for a, b in itertools.pairwise(found))


def test_a_model_with_broken_numbers_names_the_module():
    toy = Toy("llama")
    reference = take_reference(toy.module, TOKENS, SPEC, ignore_progress)
    compressed = toy.compressed(toy.blocks(Format.LOW_RANK, 0.4))
    compressed.model.layers[1].mlp.down_proj.left.weight.data[0, 0] = float("nan")
    with pytest.raises(NumericalError, match=r"layers\.1\.mlp\.down_proj"):
        measure(compressed, TOKENS, reference, SPEC, ignore_progress)


@pytest.mark.parametrize("name", ["llama-gqa", "opt", "gpt2", "qwen2-moe"])
def test_measured_sensitivity_equals_truncating_each_projection_afresh(name):
    toy = Toy(name)
    found = measure_sensitivity(toy.module, toy.inventory, TOKENS, toy.factors.__getitem__, 0.5, ignore_progress)
    assert set(found) == set(toy.projections)

    def nll(module) -> float:
        with torch.no_grad():
            logits = module(input_ids=TOKENS).logits[:, :-1]
        return functional.cross_entropy(logits.flatten(0, 1), TOKENS[:, 1:].flatten()).item()

    dense = nll(toy.module)
    for projection in toy.inventory.projections:
        shape = projection.in_features, projection.out_features
        affordable = int(0.5 * projection.params) // (projection.matrices * sum(shape))
        rank = min(affordable, max_useful_rank(Format.LOW_RANK, *shape))
        afresh = toy.compressed([BlockRank((projection.name,), Format.LOW_RANK, rank)])
        assert found[projection.name] == pytest.approx(nll(afresh) - dense, abs=1e-5)
    assert not any("forward" in layer.__dict__ for layer in toy.module.modules())


def test_small_cuts_cost_what_the_curves_predict():
    """Second-order theory against real losses: right in order of magnitude, and in rank order."""
    toy = Toy("llama")
    predicted, measured = [], []
    batch = toys.tokens(8, 24)
    for fraction in (0.5, 0.6, 0.7, 0.8, 0.9):
        blocks = toy.blocks(Format.LOW_RANK, fraction)
        predicted.append(sum(toy.factors[b.members].nats[b.rank].item() for b in blocks))
        reference = take_reference(toy.module, batch, SPEC, ignore_progress)
        found = measure(toy.compressed(blocks), batch, reference, SPEC, ignore_progress)
        measured.append(found.divergence)
    assert predicted == sorted(predicted, reverse=True)
    assert measured == sorted(measured, reverse=True)
    # Small cuts: within a factor of four, of numbers that span an order of magnitude.
    for nats, divergence in zip(predicted[2:], measured[2:], strict=True):
        assert divergence / 4 < nats < divergence * 4, (predicted, measured)
