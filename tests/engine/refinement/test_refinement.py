"""Refining a compressed model: the targets found, the least squares, and what training must not touch."""

from __future__ import annotations

import copy

import pytest
import torch

from cache import Key
from engine.compression.apply import compress
from engine.compression.layers import FactoredLinear, NarrowedLinear
from engine.errors import InvalidSpecError, NumericalError
from engine.model.experts import FactoredStack
from engine.model.inventory import take_inventory
from engine.model.module import decoder_layers, weight_matrix
from engine.pipeline.refined import read_checkpoint, read_layer, write_checkpoint, write_layer
from engine.progress import ignore_progress
from engine.refinement import N_CHECKS, Distillation, LeftCorrection, improve_layer_by_layer
from engine.refinement.divergence import divergence as divergence_of
from engine.refinement.replay import advance, open_stream
from engine.refinement.targets import Target, find_target, token_weights
from engine.settings import Home
from engine.specs import RefinementSpec, TrainingSpec
from engine.types import BlockRank, Format
from tests.engine.compression.test_apply import Toy
from tests.support import toys
from tests.support.tiers import every_architecture

TOKENS = toys.tokens(12, 16)


def compressed_toy(name, skips=False):
    """Return a toy model, its inventory and a heavily compressed copy of it."""
    module, inventory, factors = toys.factored(name, TOKENS)
    alone, shared = (Format.SKIP, Format.SKIP_CAT) if skips else (Format.LOW_RANK, Format.CAT)
    blocks = [
        BlockRank(tuple(p.name for p in g.members), shared if len(g.members) > 1 else alone, 8)
        for g in inventory.groups
    ]
    return module, inventory, compress(module, blocks, factors.__getitem__)


def refine(module, inventory, compressed, improve, tokens=TOKENS):
    watched = getattr(improve, "watched", ())
    improve_layer_by_layer(
        module, compressed, tokens, improve, ignore_progress, watched=watched, batch_size=4, compute_dtype="float32"
    )


@torch.no_grad()
def hidden_error(module, compressed, tokens=TOKENS):
    """Return the mean error of the last layer's output in relation to each token's size."""
    stream = open_stream(module, tokens, 4)
    a = b = stream.hidden
    for index, (dense, layer) in enumerate(zip(decoder_layers(module), decoder_layers(compressed), strict=True)):
        a, _ = advance(dense, a, stream.calls[index], torch.float32)
        b, _ = advance(layer, b, stream.calls[index], torch.float32)
    a, b = torch.cat(a), torch.cat(b)
    return ((a - b).pow(2) * token_weights(a)).mean().item()


@every_architecture
def test_replaying_the_layers_gives_what_the_model_gives(name):
    module = toys.build(name)
    stream = open_stream(module, TOKENS[:6], 4)
    hidden = stream.hidden
    seen = []
    last = decoder_layers(module)[-1]
    hook = last.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        module(input_ids=TOKENS[:6], use_cache=False)
    hook.remove()
    for index, layer in enumerate(decoder_layers(module)):
        hidden, _ = advance(layer, hidden, stream.calls[index], torch.float32)
    expected = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    torch.testing.assert_close(torch.cat(hidden), expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "beside", "end"),
    [
        ("llama", {"o"}, {"down"}),
        ("gemma", {"o"}, {"down"}),
        ("phi3", {"o"}, {"down"}),
        ("opt", {"out"}, {"fc2"}),
        ("gpt2", {"attn.c_proj"}, {"mlp.c_proj"}),
        ("qwen2-moe", {"o"}, set()),
    ],
)
def test_where_outputs_are_added_is_found_by_probing(name, beside, end):
    module = toys.build(name)
    inventory, modules = take_inventory(module), dict(module.named_modules())
    stream = open_stream(module, TOKENS[:4], 4)
    layer = decoder_layers(module)[0]
    found = {
        p.kind: find_target(layer, modules[p.name], stream.hidden[0], stream.calls[0])
        for p in inventory.projections
        if p.layer == 0 and p.experts is None
    }
    assert {kind for kind, target in found.items() if target is Target.BESIDE_INPUT} == beside
    assert {kind for kind, target in found.items() if target is Target.LAYER_OUTPUT} == end


@torch.no_grad()
def divergence(module, compressed):
    wanted = module(input_ids=TOKENS, use_cache=False).logits.log_softmax(-1)
    given = compressed(input_ids=TOKENS, use_cache=False).logits.log_softmax(-1)
    return (wanted.exp() * (wanted - given)).sum(-1).mean().item()


def train(module, compressed, spec, held_out=None, report=ignore_progress, batch_size=4, **settings):
    held_out = TOKENS if held_out is None else held_out
    distillation = Distillation(
        module, compressed, TOKENS, held_out, spec, batch_size=batch_size, compute_dtype="float32"
    )
    return distillation.run(report, **settings)


@pytest.mark.parametrize("skips", [False, True])
@every_architecture
def test_correction_and_training_each_bring_the_model_nearer(name, skips):
    module, inventory, compressed = compressed_toy(name, skips)
    before = hidden_error(module, compressed)
    inner = {n: p.clone() for n, p in compressed.named_parameters() if ".inner." in n}
    refine(module, inventory, compressed, LeftCorrection(module, compressed, inventory, 1e-3))
    assert hidden_error(module, compressed) < before
    for n, p in compressed.named_parameters():
        assert n not in inner or torch.equal(p, inner[n])
    corrected = divergence(module, compressed)
    dense = {n: p.clone() for n, p in module.named_parameters()}
    names = [n for n, _ in compressed.named_parameters()]
    train(module, compressed, TrainingSpec(epochs=5, learning_rate=1e-3))
    assert divergence(module, compressed) < corrected
    for n, p in module.named_parameters():
        assert torch.equal(p, dense[n]), n
        assert p.requires_grad, n
        assert p.grad is None, n
    assert sorted(n for n, _ in compressed.named_parameters()) == sorted(names)
    assert not any(
        p.requires_grad for m in compressed.modules() if isinstance(m, FactoredLinear) for p in m.parameters()
    )


@pytest.mark.parametrize("name", ["llama", "phi3", "gpt2"])
def test_down_of_a_narrow_mlp_is_corrected_and_all_its_matrices_are_trained(name):
    toy = Toy(name)
    compressed = toy.compressed(toy.blocks(Format.WIDTH, 0.5))
    before = hidden_error(toy.module, compressed)
    narrow = {n: m.weight.clone() for n, m in compressed.named_modules() if isinstance(m, NarrowedLinear)}
    whole = {n: p.clone() for n, p in toy.module.named_parameters()}
    refine(toy.module, toy.inventory, compressed, LeftCorrection(toy.module, compressed, toy.inventory, 1e-3))
    assert hidden_error(toy.module, compressed) < before
    changed = {n for n, weight in narrow.items() if not torch.equal(compressed.get_submodule(n).weight, weight)}
    assert changed == toy.inventory.downs
    corrected = divergence(toy.module, compressed)
    train(toy.module, compressed, TrainingSpec(epochs=5, learning_rate=1e-3))
    assert divergence(toy.module, compressed) < corrected
    assert not any(torch.equal(compressed.get_submodule(n).weight, weight) for n, weight in narrow.items())
    assert all(torch.equal(p, whole[n]) for n, p in toy.module.named_parameters())


@pytest.mark.parametrize("name", ["mixtral", "qwen3-moe"])
def test_the_factors_of_experts_are_trained_and_read_back(name, tmp_path):
    module, _, compressed = compressed_toy(name)
    untrained, again = copy.deepcopy(compressed), copy.deepcopy(compressed)
    end = train(module, compressed, TrainingSpec(epochs=4))
    assert end.divergences[-1] < end.divergences[0]
    stacks = {n: part for n, part in compressed.named_modules() if isinstance(part, FactoredStack)}
    assert len(stacks) == 2 * len(decoder_layers(module))
    for path, part in stacks.items():
        assert not torch.equal(part.left.weight, untrained.get_submodule(path).left.weight)
        assert not torch.equal(part.right.weight, untrained.get_submodule(path).right.weight)
    store = Home(tmp_path).store
    for trained in (False, True):
        for index, layer in enumerate(decoder_layers(compressed)):
            with store.writing(key := Key("refined-layer", f"{index}{trained:d}".ljust(64, "0")), {}) as into:
                write_layer(layer, into, trained=trained)
            read_layer(decoder_layers(again)[index], store.read(key))
        for path, part in stacks.items():
            source = part if trained else untrained.get_submodule(path)
            assert torch.equal(again.get_submodule(path).left.weight, source.left.weight)
    assert torch.equal(again(input_ids=TOKENS).logits, compressed(input_ids=TOKENS).logits)


@pytest.mark.parametrize(("rate", "check"), [(3e-3, 2), (0.5, 0), (0.5, 1)])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(rate, check):
    spec = TrainingSpec(epochs=12, learning_rate=rate)
    module, _, whole = compressed_toy("llama-gqa", skips=True)
    seen = []
    end = train(module, whole, spec, save=seen.append)
    assert [checkpoint.n_checks for checkpoint in seen] == list(range(1, N_CHECKS + 1))
    _, _, again = compressed_toy("llama-gqa", skips=True)
    found = train(module, again, spec, start=seen[check])
    assert (found.steps, found.divergences) == (end.steps, end.divergences)
    others = dict(again.named_parameters())
    for n, p in whole.named_parameters():
        assert torch.equal(p, others[n]), n


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    store = Home(tmp_path).store
    module, _, compressed = compressed_toy("llama")
    seen = []
    train(module, compressed, TrainingSpec(epochs=12, learning_rate=0.5), save=seen.append)
    for number, checkpoint in enumerate(seen):
        key = Key("training-check", f"{number:064x}")
        with store.writing(key, {}) as into:
            write_checkpoint(checkpoint, into)
        found = read_checkpoint(store.read(key))
        assert (found.steps, found.seconds, found.divergences) == (
            checkpoint.steps,
            checkpoint.seconds,
            checkpoint.divergences,
        )
        for expected, of_found in (
            (checkpoint.values, found.values),
            *zip(checkpoint.moments, found.moments, strict=True),
        ):
            assert all(torch.equal(a, b) for a, b in zip(expected, of_found, strict=True))


def test_where_held_out_text_gained_nothing_training_goes_back_and_on_at_a_lower_rate():
    module, _, compressed = compressed_toy("llama")
    seen = []
    end = train(module, compressed, TrainingSpec(epochs=40, learning_rate=0.9), save=seen.append)
    assert [checkpoint.n_in_vain for checkpoint in seen[:3]] == [1, 2, 2]
    assert all(torch.equal(a, b) for a, b in zip(seen[1].values, seen[0].values, strict=True))
    assert end.divergences[-1] == min(end.divergences) < end.divergences[0] / 2


def test_training_that_gains_nothing_ends_and_leaves_the_best_factors():
    _, _, compressed = compressed_toy("llama")
    before = {n: p.clone() for n, p in compressed.named_parameters()}
    nearly_the_same = copy.deepcopy(compressed)
    with torch.no_grad():
        for p in nearly_the_same.parameters():
            p.mul_(1.001)
    end = train(nearly_the_same, compressed, TrainingSpec(epochs=40, learning_rate=0.9))
    assert end.divergences[0] < min(end.divergences[1:])
    assert end.n_checks == 3
    assert end.steps < 40 * len(TOKENS) / 4
    for n, p in compressed.named_parameters():
        torch.testing.assert_close(p, before[n], msg=n)


def test_a_left_factor_is_the_least_squares_solution():
    module, inventory, compressed = compressed_toy("llama")
    only = inventory.groups[0].members[0].name
    factored = dict(compressed.named_modules())
    x = []
    hook = factored[only].register_forward_hook(lambda _, inputs, __: x.append(inputs[0].flatten(0, -2)))
    with torch.no_grad():
        compressed(input_ids=TOKENS)
    hook.remove()
    refine(module, inventory, compressed, LeftCorrection(module, compressed, inventory, 1e-9))
    z = factored[only].inner(x[0]).double()
    y = x[0].double() @ weight_matrix(dict(module.named_modules())[only]).double().T
    expected = torch.linalg.lstsq(z, y).solution.T
    torch.testing.assert_close(factored[only].left.weight.double(), expected, rtol=1e-3, atol=2e-3)


@torch.no_grad()
def in_and_out(model, names):
    """Return what modules read and give in one pass over the text, tokens in rows."""
    found, hooks = {}, []
    for name in names:

        def keep(_, inputs, output, name=name):
            found[name] = [t.flatten(0, -2) for t in (inputs[0], output[0] if isinstance(output, tuple) else output)]

        hooks.append(model.get_submodule(name).register_forward_hook(keep))
    model(input_ids=TOKENS, use_cache=False)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_what_is_added_to_the_stream_makes_up_for_its_error_in_relation_to_the_tokens_size(name):
    module, inventory, compressed = compressed_toy(name)
    refine(module, inventory, compressed, LeftCorrection(module, compressed, inventory, 1e-9))
    layer = f"model.layers.{inventory.n_layers - 1}"
    o, down = f"{layer}.self_attn.o_proj", f"{layer}.mlp.down_proj"
    dense, cut = (in_and_out(model, (layer, o, down)) for model in (module, compressed))
    after_attention = dense[layer][0] + dense[o][1]
    for name, size, error in (
        (o, after_attention, after_attention - cut[layer][0] - cut[o][1]),
        (down, dense[layer][1], dense[layer][1] - cut[layer][1]),
    ):
        z, root = compressed.get_submodule(name).inner(cut[name][0]), token_weights(size).sqrt()
        left_over = torch.linalg.matrix_norm((root * error).T @ (root * z))
        assert left_over < 1e-3 * torch.linalg.matrix_norm(root * error) * torch.linalg.matrix_norm(root * z), name


def test_training_goes_down_the_divergence_from_the_dense_model():
    module, _, compressed = compressed_toy("llama")
    with torch.no_grad():  # both have this head; flat predictions are as far in one direction as in the other
        module.get_output_embeddings().weight.mul_(10)
    expected, told = divergence(module, compressed), []
    assert abs(expected - divergence(compressed, module)) > 0.01
    end = train(module, compressed, TrainingSpec(), report=lambda *said: told.append(said[2]), batch_size=len(TOKENS))
    assert told == [f"Training: step 1 of 1, divergence {expected:.3f}"]
    assert end.divergences == pytest.approx((expected, divergence(module, compressed)), rel=1e-4)


def test_the_gradient_of_the_divergence_is_that_of_its_formula():
    torch.manual_seed(0)
    given, wanted = torch.randn(3, 100, 7, requires_grad=True), torch.randn(3, 100, 7)
    log_q, log_p = given.double().log_softmax(-1), wanted.double().log_softmax(-1)
    formula = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    (expected,) = torch.autograd.grad(3 * formula, given)
    value = divergence_of(given, wanted)
    (found,) = torch.autograd.grad(3 * value, given)
    torch.testing.assert_close(value, formula.float())
    torch.testing.assert_close(found, expected.float())


def test_the_rate_falls_with_the_minutes_and_training_ends_with_them():
    module, _, compressed = compressed_toy("llama")
    end = train(module, compressed, TrainingSpec(epochs=100_000, minutes=0.02))
    assert 1.2 <= end.seconds < 5
    assert N_CHECKS / 2 <= end.n_checks <= N_CHECKS or end.is_over
    assert end.divergences[-1] < end.divergences[0]


def test_the_rate_falls_to_nothing_at_the_end():
    module, _, compressed = compressed_toy("llama")
    saved = []
    train(module, compressed, TrainingSpec(epochs=32), save=saved.append)
    *_, middle, after_middle, _, _ = found = [torch.cat([v.flatten() for v in at.values]) for at in saved]
    assert len(found) == N_CHECKS
    assert (found[-1] - found[-2]).norm() < (after_middle - middle).norm() / 3


def test_a_divergence_that_is_not_finite_is_a_sentence():
    module, _, compressed = compressed_toy("llama")
    with torch.no_grad():
        next(p for n, p in compressed.named_parameters() if n.endswith("left.weight")).fill_(float("nan"))
    with pytest.raises(NumericalError, match="use a lower learning rate"):
        train(module, compressed, TrainingSpec())


@pytest.mark.parametrize(
    "changes", [{"n_sequences": 1}, {"epochs": 0}, {"learning_rate": 0.0}, {"learning_rate": 1.0}, {"minutes": 0.0}]
)
def test_training_out_of_range_is_refused(changes):
    with pytest.raises(InvalidSpecError, match="expected at least 2 sequences, 1 epoch"):
        TrainingSpec(**changes)


def test_a_refinement_that_would_do_nothing_is_refused():
    with pytest.raises(InvalidSpecError, match="changes nothing"):
        RefinementSpec(correct=False)
