"""GGUF files, opened by transformers or run by llama.cpp in a process that cannot import RankScope."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from gguf import GGUFReader
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from engine.errors import ExportError
from engine.export.dense import without_factors
from engine.export.gguf.file import FILE, write_gguf
from engine.export.gguf.verification import runtime_for, verify_gguf
from engine.export.gguf.writer import export_gguf
from engine.export.verification import take_greedy_logits
from engine.progress import ignore_progress
from engine.types import Format
from tests.engine.compression.test_apply import Toy
from tests.engine.export.test_folder import mixed
from tests.support import toys

pytestmark = pytest.mark.usefixtures("warm_starts")


def llama(**settings) -> LlamaForCausalLM:
    """Return a model whose rows the blocks of int8 divide."""
    torch.manual_seed(0)
    config = LlamaConfig(
        **{**toys.SMALL, "hidden_size": 64, "intermediate_size": 96, "num_key_value_heads": 2, **settings}
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0 if parameter.ndim > 1 else 1.0)
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_products_of_every_format_are_one_file_that_transformers_opens(tied, toy_tokenizer, tmp_path):
    toy = Toy("llama-gqa" if tied else "llama")
    module = without_factors(toy.module, toy.compressed(mixed(toy)))
    write_gguf(module, toy_tokenizer, tmp_path, "float32")
    found = verify_gguf(tmp_path / FILE, take_greedy_logits(module), toy_tokenizer, "float32", "transformers")
    assert found.max_logit_difference <= 1e-4
    assert found.same_top == 1.0
    fields = GGUFReader(tmp_path / FILE).fields
    assert fields["tokenizer.chat_template"].contents() == toy_tokenizer.chat_template
    assert ("output.weight" in {tensor.name for tensor in GGUFReader(tmp_path / FILE).tensors}) is not tied


def test_int8_takes_half_of_float16_and_says_how_far_it_is_off(toy_tokenizer, tmp_path):
    module = llama()
    write_gguf(module, toy_tokenizer, tmp_path, "float16")
    half = sum(tensor.n_bytes for tensor in GGUFReader(tmp_path / FILE).tensors)
    found = export_gguf(module, toy_tokenizer, tmp_path, ignore_progress, "int8")
    rounded = sum(tensor.n_bytes for tensor in GGUFReader(tmp_path / FILE).tensors)
    assert 0 < found.max_logit_difference < 0.5
    assert 0.5 < rounded / half < 0.56


def test_narrow_layers_of_one_width_stay_an_ordinary_model(toy_tokenizer, tmp_path):
    toy = Toy("llama-gqa")
    compressed = toy.compressed(toy.blocks(Format.WIDTH, 0.5))
    module = without_factors(toy.module, compressed)
    write_gguf(module, toy_tokenizer, tmp_path, "float32")
    reference = take_greedy_logits(compressed)
    verify_gguf(tmp_path / FILE, reference, toy_tokenizer, "float32", "transformers")
    reader = GGUFReader(tmp_path / FILE)
    assert reader.fields["general.architecture"].contents() == "llama"
    assert reader.fields["llama.feed_forward_length"].contents() < toy.module.config.intermediate_size


def narrowed(widths: list[int]) -> LlamaForCausalLM:
    module = llama()
    for layer, width in zip(module.model.layers, widths, strict=True):
        for part in (layer.mlp.gate_proj, layer.mlp.up_proj):
            part.weight = nn.Parameter(part.weight[:width].detach().clone())
        layer.mlp.down_proj.weight = nn.Parameter(layer.mlp.down_proj.weight[:, :width].detach().clone())
    return module


def test_layers_of_different_widths_are_listed_one_by_one(toy_tokenizer, tmp_path):
    widths = [96, 64, 32]
    write_gguf(narrowed(widths), toy_tokenizer, tmp_path, "float16")
    reader = GGUFReader(tmp_path / FILE)
    assert reader.fields["deci.feed_forward_length"].contents() == widths
    shapes = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    assert [shapes[f"blk.{layer}.ffn_down.weight"][0] for layer in range(3)] == widths


@pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
@pytest.mark.parametrize("widths", [[96, 96, 96], [96, 64, 32]])
def test_llama_cpp_runs_what_was_written(widths, toy_tokenizer, tmp_path):
    found = export_gguf(narrowed(widths), toy_tokenizer, tmp_path, ignore_progress, "float16")
    assert list(found.versions) == ["llama-cpp-python"]
    assert found.same_top > 0.97


def test_what_a_file_cannot_describe_is_one_sentence(toy_tokenizer, tmp_path, monkeypatch):
    with pytest.raises(ExportError, match="GGUF export of GPT2LMHeadModel with this configuration is not written"):
        export_gguf(toys.build("gpt2"), toy_tokenizer, tmp_path, ignore_progress, "float16")
    with pytest.raises(ExportError, match="without biases"):
        export_gguf(llama(mlp_bias=True), toy_tokenizer, tmp_path, ignore_progress, "float16")
    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ExportError, match="tokenizer is not one that a GGUF export can describe"):
        write_gguf(llama(), PreTrainedTokenizerFast(tokenizer_object=words), tmp_path, "float16")
    monkeypatch.setattr("engine.export.gguf.verification.find_spec", lambda name: None)
    with pytest.raises(ExportError, match="is checked in llama"):
        runtime_for(is_even=False)


def test_the_file_of_another_model_is_found(toy_tokenizer, tmp_path):
    write_gguf(llama(), toy_tokenizer, tmp_path, "float16")
    reference = take_greedy_logits(narrowed([64, 64, 64]))
    with pytest.raises(ExportError, match="logits differ by up to"):
        verify_gguf(tmp_path / FILE, reference, toy_tokenizer, "float16", "transformers")
