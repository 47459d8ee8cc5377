"""What is found in a model, and what is refused, on real architectures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
import transformers
from torch import nn
from transformers import tokenization_utils_base
from transformers.models.mixtral.modeling_mixtral import MixtralExperts

from engine.errors import ModelError
from engine.model.inventory import take_inventory
from engine.model.module import weight_matrix
from engine.model.opening import load_module, load_tokenizer
from engine.model.stacks import part_named
from engine.types import Experts
from tests.support import architectures, toys
from tests.support.tiers import every_architecture

LINEARS = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)
GATED = [{"gate": (80, 48), "up": (80, 48)}, {"down": (48, 80)}]


def stacks(neurons: int) -> list[dict[str, tuple[int, int]]]:
    return [{"experts.gate_up": (2 * neurons, 48)}, {"experts.down": (48, neurons)}]


def attention(q: int, kv: int) -> list[dict[str, tuple[int, int]]]:
    return [{"q": (q, 48), "k": (kv, 48), "v": (kv, 48)}, {"o": (48, q)}]


# kind -> (out, in) of the first layer's projections, by input group.
EXPECTED = {
    "llama": [*attention(48, 48), *GATED],
    "llama-gqa": [*attention(48, 24), *GATED],
    "mistral": [*attention(48, 24), *GATED],
    "qwen2": [*attention(48, 24), *GATED],
    "qwen3": [*attention(64, 32), *GATED],
    "gemma": [*attention(64, 16), *GATED],
    "phi3": [{"qkv": (96, 48)}, {"o": (48, 48)}, {"gate_up": (160, 48)}, {"down": (48, 80)}],
    "opt": [{"q": (48, 48), "k": (48, 48), "v": (48, 48)}, {"out": (48, 48)}, {"fc1": (80, 48)}, {"fc2": (48, 80)}],
    "gpt2": [{"c_attn": (144, 48)}, {"attn.c_proj": (48, 48)}, {"c_fc": (192, 48)}, {"mlp.c_proj": (48, 192)}],
    "mixtral": [*attention(48, 24), *stacks(80)],
    "qwen2-moe": [*attention(48, 24), {"gate": (56, 48), "up": (56, 48)}, {"down": (48, 56)}, *stacks(16)],
    "qwen3-moe": [*attention(64, 32), *stacks(32)],
}


@every_architecture
def test_projections_and_input_groups_are_found_from_the_graph(name):
    module = toys.build(name)
    inventory = take_inventory(module)
    first = [g for g in inventory.groups if g.layer == 0]
    found = [{p.kind: (p.out_features, p.in_features) for p in g.members} for g in first]
    assert sorted(map(str, found)) == sorted(map(str, EXPECTED[name]))
    assert inventory.n_layers == 3
    for p in inventory.projections:
        assert weight_matrix(part_named(module, p.name)).shape[-2:] == (p.out_features, p.in_features)


@every_architecture
def test_every_parameter_is_either_a_projection_or_listed_with_a_reason(name):
    module = toys.build(name)
    inventory = take_inventory(module)
    listed = inventory.compressible_params + sum(s.params for s in inventory.skipped)
    assert listed == sum(p.numel() for p in module.parameters()) == inventory.total_params
    assert all(s.reason for s in inventory.skipped)
    embedding = module.get_input_embeddings().weight
    head = module.get_output_embeddings().weight
    weights = {id(part_named(module, p.name).weight) for p in inventory.projections}
    assert not weights & {id(embedding), id(head)}


def tied_to_the_embedding() -> nn.Module:
    module = toys.build("llama")
    module.model.layers[1].mlp.up_proj = nn.Linear(48, 320, bias=False)
    module.model.layers[1].mlp.gate_proj = nn.Linear(48, 320, bias=False)
    module.model.layers[1].mlp.down_proj = nn.Linear(320, 48, bias=False)
    module.model.layers[1].mlp.up_proj.weight = module.get_input_embeddings().weight
    return module


def tied_between_layers() -> nn.Module:
    module = toys.build("llama")
    module.model.layers[2].mlp.up_proj.weight = module.model.layers[0].mlp.up_proj.weight
    return module


def a_layer_twice() -> nn.Module:
    module = toys.build("llama")
    module.model.layers[2] = module.model.layers[0]
    return module


SHARED = {
    "embedding": (tied_to_the_embedding, ["model.layers.1.mlp.up_proj"]),
    "layers": (tied_between_layers, ["model.layers.0.mlp.up_proj"]),
    "layer twice": (a_layer_twice, [f"model.layers.0.{part}" for part in LINEARS]),
    "zamba2": (lambda: architectures.build("zamba2"), None),
}


@pytest.mark.parametrize("case", SHARED)
def test_shared_weights_are_counted_once_and_stay_as_they_are(case):
    build, expected = SHARED[case]
    module = build()
    inventory = take_inventory(module)
    listed = inventory.compressible_params + sum(s.params for s in inventory.skipped)
    assert listed == sum(p.numel() for p in module.parameters()) == inventory.total_params
    modules = dict(module.named_modules(remove_duplicate=False))
    places = Counter(id(p) for m in modules.values() for p in m.parameters(recurse=False))
    assert all(places[id(part_named(module, p.name).weight)] == 1 for p in inventory.projections)
    reasons = ("its weight is shared with another module", "runs several times in one pass")
    shared = [s.name for s in inventory.skipped if s.reason in reasons]
    assert expected is None or sorted(shared) == sorted(expected)


@pytest.mark.parametrize(("name", "count"), [("mixtral", 4), ("qwen2-moe", 4), ("qwen3-moe", 8)])
def test_the_experts_of_a_layer_are_two_projections(name, count):
    inventory = take_inventory(toys.build(name))
    stacks = [p for p in inventory.projections if p.experts is not None]
    assert [p.kind for p in stacks] == ["experts.gate_up", "experts.down"] * 3
    assert [p.experts for p in stacks] == [
        Experts(count, 2, share_input=True),
        Experts(count, 2, share_input=False),
    ] * 3
    assert all(p.params == count * p.out_features * p.in_features for p in stacks)
    assert not any("tensor" in s.reason for s in inventory.skipped)


@pytest.mark.parametrize("change", ["biased", "clamped", "narrow"])
def test_experts_that_do_something_else_are_listed_as_left_dense(change, monkeypatch):
    if change == "biased":
        settings = {**toys.GROUPED, "head_dim": 12, "num_local_experts": 4, "num_experts_per_tok": 2}
        monkeypatch.setitem(toys.ARCHITECTURES, "other", ("GptOssForCausalLM", "GptOssConfig", settings))
        module, reason = toys.build("other"), "no experts' gate and up, or down, without biases"
    elif change == "clamped":
        module, reason = toys.build("mixtral"), "no experts' gate and up, or down, without biases"
        monkeypatch.setattr(MixtralExperts, "_apply_gate", lambda _, rows: rows.chunk(2, dim=-1)[0].clamp(max=0.1))
    else:
        name, config, settings = toys.ARCHITECTURES["qwen3-moe"]
        monkeypatch.setitem(toys.ARCHITECTURES, "other", (name, config, {**settings, "moe_intermediate_size": 4}))
        module, reason = toys.build("other"), "narrower than 8, nothing to save"
    inventory = take_inventory(module)
    dense = [s for s in inventory.skipped if reason in s.reason]
    assert len(dense) == (3 if change == "narrow" else 6)
    assert sum(p.experts is not None for p in inventory.projections) == (3 if change == "narrow" else 0)
    assert inventory.compressible_params + sum(s.params for s in inventory.skipped) == inventory.total_params


def saved(tmp_path: Path, name: str = "llama") -> Path:
    toys.build(name).save_pretrained(tmp_path)
    return tmp_path


@every_architecture
def test_a_saved_model_opens_with_the_same_logits(name, tmp_path):
    module = toys.build(name)
    module.save_pretrained(tmp_path)
    batch = toys.tokens(2, 12)
    opened = load_module(tmp_path, device="cpu")
    torch.testing.assert_close(opened(input_ids=batch).logits, module(input_ids=batch).logits)
    assert not opened.training


def test_auto_keeps_the_checkpoints_dtype_but_not_float16_on_a_cpu(tmp_path):
    toys.build("llama").to(torch.bfloat16).save_pretrained(tmp_path / "b")
    toys.build("llama").to(torch.float16).save_pretrained(tmp_path / "h")
    assert load_module(tmp_path / "b", device="cpu").dtype is torch.bfloat16
    assert load_module(tmp_path / "h", device="cpu").dtype is torch.float32
    assert load_module(tmp_path / "b", dtype="float32", device="cpu").dtype is torch.float32


def test_a_folder_without_config_is_one_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load_module(tmp_path)


def test_a_table_of_endless_labels_is_not_made(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "text_config": {"num_labels": 1%s}}' % ("0" * 30))
    with pytest.raises(ModelError, match=r"num_labels is 1e\+30"):
        load_module(tmp_path)


def test_a_folder_without_weights_is_one_sentence(tmp_path):
    (saved(tmp_path) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"has no \.safetensors file"):
        load_module(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 1000, -4])
def test_truncated_weights_are_one_sentence(tmp_path, keep):
    path = saved(tmp_path) / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:keep])
    with pytest.raises(ModelError, match="damaged or cut short"):
        load_module(tmp_path)


def test_a_tokenizer_is_written_the_same_whether_it_was_opened_online_or_not(tmp_path, toy_tokenizer, monkeypatch):
    toy_tokenizer.save_pretrained(saved(tmp_path / "model"))
    written = []
    for is_offline in (False, True):
        monkeypatch.setattr(tokenization_utils_base, "is_offline_mode", lambda is_it=is_offline: is_it)
        load_tokenizer(tmp_path / "model").save_pretrained(tmp_path / "written")
        written.append({path.name: path.read_bytes() for path in (tmp_path / "written").iterdir()})
    assert written[0] == written[1]


def test_missing_tensors_are_never_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    path = saved(tmp_path) / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 tensors .*layers\.1\.mlp\.up_proj"):
        load_module(tmp_path)


@pytest.mark.parametrize("class_name", ["BertLMHeadModel", "BertForMaskedLM"])
def test_an_encoder_is_refused(tmp_path, class_name):
    config = transformers.BertConfig(
        vocab_size=160, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4
    )
    getattr(transformers, class_name)(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="encoder"):
        load_module(tmp_path)


def test_an_encoder_decoder_is_refused(tmp_path):
    config = transformers.T5Config(vocab_size=160, d_model=48, d_kv=12, d_ff=80, num_layers=2, num_heads=4)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="causal language model"):
        load_module(tmp_path)


def test_an_unknown_device_is_one_sentence(tmp_path):
    with pytest.raises(ModelError, match="cannot use it"):
        load_module(saved(tmp_path), device="cuda:7")
