"""Write a causal model of LLaMA's architecture as a GGUF file; gated layers may differ in their width."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, quants

from engine.errors import ExportError
from engine.export.gguf.vocabulary import add_vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import nn

FILE = "model.gguf"
TYPES = {
    "float32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "float16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "int8": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
"""Number type -> type of matrices, and of the file; vectors are float32."""
_PARTS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)$")


def require_llama(module: nn.Module) -> None:
    """Raise a sentence unless llama.cpp's LLaMA computes what a model does.

    Raises:
        ExportError: it would not.
    """
    config: Any = module.config
    scaling = config.rope_parameters["rope_type"] if config.model_type == "llama" else ""
    if config.model_type != "llama" or scaling != "default" or config.attention_bias or config.mlp_bias:
        raise ExportError(
            f"A GGUF export of {type(module).__name__} with this configuration is not written; expected LLaMA's "
            "architecture without biases and without scaled rotary positions. Export it with the format dense."
        )


def widths_of(module: nn.Module) -> list[int]:
    """Return the neurons of every layer's gated MLP.

    Raises:
        ExportError: the model is of another architecture.
    """
    require_llama(module)
    causal: Any = module
    return [layer.mlp.down_proj.weight.shape[1] for layer in causal.model.layers]


def write_gguf(module: nn.Module, tokenizer: Any, folder: Path, dtype: str) -> None:
    """Write ``model.gguf`` with weights, tokenizer and chat template.

    Args:
        module: of LLaMA's architecture, with ordinary linear modules.
        tokenizer: of the model.
        folder: there.
        dtype: of the matrices.

    Raises:
        ExportError: a GGUF file cannot describe the model or its tokenizer.
        OSError: the folder cannot be written.
    """
    config: Any = module.config
    widths = widths_of(module)
    is_even = len(set(widths)) == 1
    # The loader of "llama" takes one width for all layers; that of "deci", the same architecture, one per layer.
    writer = GGUFWriter(folder / FILE, "llama" if is_even else "deci")
    heads = [config.num_attention_heads] * len(widths)
    groups = [config.num_key_value_heads] * len(widths)
    kind, file_type = TYPES[dtype]
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(len(widths))
    writer.add_feed_forward_length(widths[0] if is_even else widths)
    writer.add_head_count(heads[0] if is_even else heads)
    writer.add_head_count_kv(groups[0] if is_even else groups)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(file_type)
    add_vocabulary(writer, tokenizer, config.vocab_size)
    left_out = set(module.all_tied_weights_keys)  # type: ignore[arg-type]
    for name, tensor in module.state_dict().items():
        if name not in left_out:
            values = _in_order(name, tensor, config).float().numpy()
            stored = _stored_type(values, kind)
            writer.add_tensor(_tensor_name(name), quants.quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensor_name(name: str) -> str:
    part, _, last = name.rpartition(".")
    if found := _LAYER.match(part):
        return f"blk.{found[1]}.{_PARTS[found[2]]}.{last}"
    return f"{_WHOLE[part]}.{last}"


def _in_order(name: str, tensor: torch.Tensor, config: Any) -> torch.Tensor:
    """Return the rows of queries and keys with the halves of a head interleaved, as llama.cpp rotates neighbours."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return tensor
    return tensor.view(heads, 2, -1, tensor.shape[-1]).transpose(1, 2).reshape(tensor.shape)


def _stored_type(values: np.ndarray, kind: GGMLQuantizationType) -> GGMLQuantizationType:
    """Return the type of a tensor: vectors stay float32, and rows that int8's blocks of 32 do not divide float16."""
    if values.ndim == 1:
        return GGMLQuantizationType.F32
    if kind is GGMLQuantizationType.Q8_0 and values.shape[1] % 32:
        return GGMLQuantizationType.F16
    return kind
