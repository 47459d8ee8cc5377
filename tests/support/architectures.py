"""Causal language models of transformers at toy size: what each needs besides the sizes that all share."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.support.toys import SMALL

_SIZES: dict[str, Any] = {
    **SMALL,
    "pad_token_id": None,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "n_positions": 128,
    "num_experts_per_tok": 2,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 56,
}
_MLA: dict[str, Any] = {
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "n_shared_experts": 1,
    "num_key_value_heads": 4,
}
_DELTA: dict[str, Any] = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 12,
    "linear_value_head_dim": 12,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}

SETTINGS: dict[str, dict[str, Any]] = {
    "apertus": {},
    "arcee": {},
    "bamba": {"mamba_n_heads": 4, "mamba_d_head": "auto", "mamba_d_state": 16, "attn_layer_indices": [1]},
    "biogpt": {},
    "bitnet": {},
    "bloom": {"num_key_value_heads": None},
    "codegen": {"rotary_dim": 8},
    "cohere": {},
    "cohere2": {},
    "ctrl": {"dff": 80},
    "deepseek_v2": _MLA,
    "deepseek_v3": _MLA,
    "diffllama": {},
    "dots1": {"n_shared_experts": 1, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1},
    "ernie4_5": {},
    "ernie4_5_moe": {"moe_num_experts": 4, "moe_k": 2, "moe_layer_start_index": 1},
    "exaone4": {},
    "falcon": {"num_kv_heads": 2},
    "falcon_mamba": {"state_size": 8},
    "gemma": {},
    "gemma2": {},
    "gemma3_text": {},
    "gemma3n_text": {
        "vocab_size_per_layer_input": 320,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 1,
        "laurel_rank": 8,
        "activation_sparsity_pattern": [0.0, 0.0, 0.0],
        "layer_types": ["sliding_attention", "full_attention", "full_attention"],
        "intermediate_size": [80, 80, 80],
    },
    "glm": {},
    "glm4": {},
    "glm4_moe": {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {"attention_types": [[["global"], 3]]},
    "gpt_neox": {},
    "gpt_oss": {},
    "gptj": {"rotary_dim": 8},
    "granite": {},
    "granitemoe": {},
    "granitemoehybrid": {
        "mamba_n_heads": 4,
        "mamba_d_head": "auto",
        "mamba_d_state": 16,
        "layer_types": ["mamba", "attention", "mamba"],
    },
    "helium": {"head_dim": 12},
    "hunyuan_v1_dense": {},
    "jamba": {"mamba_dt_rank": 8, "mamba_d_state": 8, "attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"]},
    "llama": {},
    "llama4_text": {"intermediate_size_mlp": 80, "attention_chunk_size": 64},
    "mamba": {"state_size": 8},
    "mamba2": {"state_size": 8, "num_heads": 8, "head_dim": 12, "n_groups": 2},
    "minimax": {"layer_types": ["linear_attention", "full_attention", "linear_attention"]},
    "ministral": {},
    "mistral": {},
    "mixtral": {},
    "mpt": {"max_seq_len": 128, "d_model": 48},
    "nanochat": {},
    "nemotron": {},
    "olmo": {},
    "olmo2": {},
    "olmo3": {},
    "olmoe": {},
    "openai-gpt": {},
    "opt": {"ffn_dim": 80, "word_embed_proj_dim": 48},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "phimoe": {},
    "qwen2": {},
    "qwen2_moe": {},
    "qwen3": {},
    "qwen3_moe": {},
    "qwen3_next": _DELTA,
    "qwen3_5_text": _DELTA,
    "recurrent_gemma": {"lru_width": 48, "block_types": ["recurrent", "recurrent", "attention"]},
    "rwkv": {"attention_hidden_size": 48, "context_length": 128},
    "seed_oss": {},
    "smollm3": {},
    "stablelm": {"partial_rotary_factor": 0.5},
    "starcoder2": {},
    "xglm": {"d_model": 48, "ffn_dim": 80, "attention_heads": 4, "num_layers": 3},
    "zamba2": {
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "mamba_d_state": 8,
        "n_mamba_heads": 8,
        "num_mem_blocks": 1,
        "attention_head_dim": 24,
        "adapter_rank": 8,
        "mamba_ngroups": 1,
    },
}
"""Model type -> what is set besides the shared sizes."""


def build(model_type: str, seed: int = 0) -> nn.Module:
    """Return a toy of a model type with weights large enough for its layers to matter."""
    torch.manual_seed(seed)
    config_class = CONFIG_MAPPING[model_type]
    known = {*inspect.signature(config_class).parameters, *config_class.attribute_map}
    sizes = {name: value for name, value in _SIZES.items() if name in known}
    config = AutoConfig.for_model(model_type, **{**sizes, **SETTINGS[model_type]})
    model: nn.Module = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(4.0)
            elif parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model
