"""Moments taken layer by layer from files against those of a pass over the whole model, bit for bit."""

from __future__ import annotations

import contextlib

import pytest
import torch
import transformers
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from engine.calibration.boundaries import Boundaries
from engine.calibration.passes import collect_statistics
from engine.calibration.streamed import StreamedPass
from engine.errors import NumericalError, UnstreamableError
from engine.evaluation.perplexity import measure, take_reference
from engine.model import head
from engine.model.inventory import take_inventory
from engine.model.module import decoder_layers
from engine.model.opening import open_model
from engine.model.stepping import LayerSteps
from engine.progress import ignore_progress
from engine.specs import CalibrationSpec, CorpusSpec, EvaluationSpec, Fisher
from tests.support import architectures, toys
from tests.support.tiers import sweep_unless

FAMILIES = (
    "bloom",  # positions as a bias of attention
    "deepseek_v2",  # latent attention, a dense layer before those of experts
    "falcon",  # adds in place
    "gemma3_text",  # two tables of rotations, sliding and full attention in turn
    "gpt2",  # weights stored the other way round
    "jamba",  # state spaces, attention and experts
    "llama",
    "mixtral",  # experts that the library merges when it opens the files
    "recurrent_gemma",
    "rwkv",  # layers return their state, and hidden states are rescaled between them
    "zamba2",  # layers that share weights and read the embeddings
)
REFUSED = ("gemma3n_text",)
TOKENS = toys.tokens(5, 16)
SPECS = (
    CalibrationSpec(compute_dtype="float32"),
    CalibrationSpec(compute_dtype="bfloat16", fisher=Fisher.GGN, seed=3),
)


@pytest.fixture
def opened(tmp_path, toy_tokenizer):
    """Return a function from an architecture's name to the same files opened as a whole and layer by layer."""

    def both(name):
        architectures.build(name).save_pretrained(tmp_path / "model")
        toy_tokenizer.save_pretrained(tmp_path / "model")
        where = {"dtype": "float32", "device": "cpu"}
        return open_model(tmp_path / "model", **where), open_model(
            tmp_path / "model", **where, offload=tmp_path / "offload"
        )

    return both


def streamed(model, spec, layers=None, boundaries=None, tokens=TOKENS):
    one_pass = StreamedPass(
        model.module, model.holding, model.inventory, tokens, spec, boundaries or Boundaries(), n_start=1
    )
    chosen = range(model.inventory.n_layers) if layers is None else layers
    return one_pass.statistics(chosen, ignore_progress)


def check_same(whole, by_layer, spec, layers=None, boundaries=None):
    expected, nll = collect_statistics(
        whole.module,
        whole.inventory,
        TOKENS,
        spec,
        layers or range(whole.inventory.n_layers),
        ignore_progress,
        n_start=1,
    )
    found = list(streamed(by_layer, spec, layers, boundaries))
    assert [statistics.layer for statistics, _ in found] == sorted(expected, reverse=True)
    for statistics, nll_of_layer in found:
        tensors = statistics.to_tensors()
        assert nll_of_layer == nll
        assert tensors.keys() == expected[statistics.layer].to_tensors().keys()
        for key, tensor in expected[statistics.layer].to_tensors().items():
            assert torch.equal(tensors[key], tensor), key


def check_architecture(name, opened):
    whole, by_layer = opened(name)
    assert by_layer.inventory == whole.inventory
    for spec in SPECS:
        check_same(whole, by_layer, spec)


@pytest.mark.parametrize("name", sweep_unless(FAMILIES, set(FAMILIES) - {"bloom", "jamba", "llama", "recurrent_gemma"}))
def test_the_moments_of_a_family_are_the_same_bits(name, opened):
    check_architecture(name, opened)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(architectures.SETTINGS.keys() - set(FAMILIES) - set(REFUSED)))
def test_the_moments_of_every_other_architecture_are_the_same_bits(name, opened):
    check_architecture(name, opened)


@pytest.mark.parametrize("name", REFUSED)
def test_what_reads_more_than_the_layer_before_is_refused_by_name(name, opened):
    _, by_layer = opened(name)
    with pytest.raises(
        UnstreamableError, match=r"^Gemma3nForCausalLM cannot be run layer by layer because its layer 2"
    ):
        next(streamed(by_layer, SPECS[0]))


def test_some_layers_and_states_on_disk_change_no_bit(opened, tmp_path):
    whole, by_layer = opened("llama")
    folder = tmp_path / "states"
    folder.mkdir()
    check_same(whole, by_layer, SPECS[1], layers=[1], boundaries=Boundaries(folder))
    assert {path.name.split("-")[1] for path in folder.iterdir()} == {"0"}


@pytest.mark.parametrize("fisher", list(Fisher))
def test_tokens_take_turns_at_the_head_where_the_vocabulary_is_large(fisher, opened, monkeypatch):
    whole, by_layer = opened("llama")
    spec = CalibrationSpec(compute_dtype="float32", fisher=fisher)
    layers = range(whole.inventory.n_layers)
    at_once, nll_at_once = collect_statistics(
        whole.module, whole.inventory, TOKENS, spec, layers, ignore_progress, n_start=1
    )
    monkeypatch.setattr(head, "MOST_LOGITS", 6 * 320)
    check_same(whole, by_layer, spec)
    for statistics, nll in streamed(by_layer, spec):
        assert nll == pytest.approx(nll_at_once, rel=1e-6)
        tensors = at_once[statistics.layer].to_tensors()
        for key, tensor in statistics.to_tensors().items():
            if fisher is Fisher.SAMPLED and key.startswith("gradients/"):
                continue  # tokens drawn in turns are others
            torch.testing.assert_close(tensor, tensors[key], rtol=1e-4, atol=1e-5 * tensors[key].abs().max().item())


def test_no_more_than_one_layer_is_in_memory(opened):
    _, by_layer = opened("llama")
    layers = by_layer.module.model.layers
    held = []

    def count(*_):
        held.append([i for i, layer in enumerate(layers) if not layer.mlp.up_proj.weight.is_meta])

    hooks = [layer.mlp.up_proj.register_forward_pre_hook(count) for layer in layers]
    list(streamed(by_layer, SPECS[0]))
    for hook in hooks:
        hook.remove()
    assert {len(layers) for layers in held} == {1}
    assert all(parameter.is_meta for parameter in layers.parameters())
    n_bytes, before = bytes_of_layers(by_layer), by_layer.weights.bytes_read
    list(streamed(by_layer, SPECS[0]))
    assert by_layer.weights.bytes_read - before == 2 * n_bytes


def bytes_of_layers(model):
    return sum(p.nbytes for layer in decoder_layers(model.module) for p in layer.parameters())


@pytest.mark.parametrize("name", ["llama", "mixtral", "rwkv"])
def test_layers_are_read_once_while_a_model_is_opened(name, opened):
    _, by_layer = opened(name)
    assert by_layer.weights.bytes_read == bytes_of_layers(by_layer)


def test_a_model_in_memory_is_left_as_it_was():
    module = toys.build("llama")
    inventory = take_inventory(module)
    before = {n: (p.clone(), p.requires_grad) for n, p in module.named_parameters()}
    one_pass = StreamedPass(module, lambda _: contextlib.nullcontext(), inventory, TOKENS, SPECS[0], Boundaries())
    next(one_pass.statistics([2], ignore_progress))
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter.requires_grad == before[name][1]
        assert parameter.grad is None
    assert not any("forward" in vars(m) or m._forward_hooks or m._forward_pre_hooks for m in module.modules())


class ReadsTheFirst(nn.Module):
    """A model whose last layer reads what the first returned."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, input_ids, use_cache):
        first, second, third = self.module.model.layers
        hidden = self.module.model.embed_tokens(input_ids)
        length = input_ids.shape[1]
        rotations = self.module.model.rotary_emb(hidden, torch.arange(length)[None])
        early = first(hidden, position_embeddings=rotations)
        late = second(early, position_embeddings=rotations)
        return third(late + early, position_embeddings=rotations)


class OutOfTurn(ReadsTheFirst):
    """A model that calls its second layer first."""

    def forward(self, input_ids, use_cache):
        first, second, _ = self.module.model.layers
        hidden = self.module.model.embed_tokens(input_ids)
        return first(second(hidden))


@pytest.mark.parametrize(
    ("kind", "why"),
    [(ReadsTheFirst, "its layer 2 reads what layers before the last one returned"), (OutOfTurn, "calls its layer 1")],
)
def test_what_would_give_other_numbers_is_refused(kind, why):
    steps = LayerSteps(kind(toys.build("llama")))

    def run():
        before = []
        for layer in range(3):
            before = steps.run(layer, TOKENS, before)

    with pytest.raises(UnstreamableError, match=f"{kind.__name__} cannot be run layer by layer because .*{why}"):
        run()


def test_numbers_that_are_not_finite_are_named_and_not_taken_for_what_is_read_early(opened):
    _, by_layer = opened("llama")
    with torch.no_grad():
        by_layer.module.model.embed_tokens.weight[:] = torch.inf
    with pytest.raises(NumericalError, match=r"calibration sequences 0\.\.1"):
        next(streamed(by_layer, SPECS[0]))


class LargestTensor(TorchDispatchMode):
    """Notes the most entries that any tensor made meanwhile has in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.dtype is torch.float32:
                self.entries = max(self.entries, tensor.numel())
        return result


@pytest.fixture(scope="session")
def of_many_words(tmp_path_factory, toy_tokenizer):
    """The folder of a model of one layer whose vocabulary is as large as any."""
    folder = tmp_path_factory.mktemp("words")
    config = transformers.LlamaConfig(
        vocab_size=262_144,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    toy_tokenizer.save_pretrained(folder)
    return folder


def calibrated(model, tokens):
    collect_statistics(model.module, model.inventory, tokens, SPECS[0], [0], ignore_progress)


def calibrated_by_layer(model, tokens):
    list(streamed(model, SPECS[0], tokens=tokens))


def evaluated(model, tokens):
    spec = EvaluationSpec(CorpusSpec.parse("demo", part="evaluation", n_sequences=1, length=384))
    reference = take_reference(model.module, tokens, spec, ignore_progress)
    assert measure(model.module, tokens, reference, spec, ignore_progress).divergence == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("work", [calibrated, calibrated_by_layer, evaluated])
def test_no_tensor_of_all_tokens_and_a_large_vocabulary_is_ever_made(work, of_many_words, tmp_path):
    offload = tmp_path / "offload" if work is calibrated_by_layer else None
    model = open_model(of_many_words, dtype="float32", device="cpu", offload=offload)
    tokens = torch.randint(262_144, (1, 384), generator=torch.Generator().manual_seed(0))
    with LargestTensor() as largest:
        work(model, tokens)
    assert 262_144 * 16 < largest.entries <= head.MOST_LOGITS < tokens.numel() * 262_144
