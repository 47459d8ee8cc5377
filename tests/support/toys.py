"""Real transformers classes at toy size: one of every architecture RankScope promises to handle."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from engine.calibration.passes import collect_statistics
from engine.factorization import Factors, factorize
from engine.model.inventory import take_inventory
from engine.model.module import weight_matrix
from engine.model.stacks import part_named
from engine.progress import ignore_progress
from engine.specs import CalibrationSpec
from engine.types import Inventory, Metric

SMALL: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
GROUPED = {**SMALL, "num_key_value_heads": 2}
_EXPERTS = {**GROUPED, "num_experts_per_tok": 2}

ARCHITECTURES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", SMALL),
    "llama-gqa": ("LlamaForCausalLM", "LlamaConfig", {**GROUPED, "tie_word_embeddings": True}),
    "mistral": ("MistralForCausalLM", "MistralConfig", GROUPED),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", GROUPED),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**GROUPED, "head_dim": 16}),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", {**GROUPED, "head_dim": 16, "num_key_value_heads": 1}),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", GROUPED),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {
            "vocab_size": 320,
            "hidden_size": 48,
            "ffn_dim": 80,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "word_embed_proj_dim": 48,
            "max_position_embeddings": 128,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 0,
        },
    ),
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {
            "vocab_size": 320,
            "n_embd": 48,
            "n_layer": 3,
            "n_head": 4,
            "n_positions": 128,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**_EXPERTS, "num_local_experts": 4}),
    "qwen2-moe": (
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        {**_EXPERTS, "num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 56},
    ),
    "qwen3-moe": (
        "Qwen3MoeForCausalLM",
        "Qwen3MoeConfig",
        {**_EXPERTS, "head_dim": 16, "num_experts": 8, "moe_intermediate_size": 32},
    ),
}


def build(name: str, seed: int = 0, **changes: Any) -> nn.Module:
    """Return a toy model with weights large enough for its layers to matter; ``changes`` are of its configuration."""
    class_name, config_name, settings = ARCHITECTURES[name]
    torch.manual_seed(seed)
    config = getattr(transformers, config_name)(**{**settings, **changes})
    model: nn.Module = getattr(transformers, class_name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1 and name in {"qwen2", "opt", "gpt2"}:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif parameter.ndim >= 2:
                parameter.mul_(4.0)
        # transformers zeroes the row of the padding token, which toy texts hold; a zero state through every norm has
        # gradients that no real model knows.
        rows = model.get_input_embeddings().weight
        padding = (rows == 0).all(1)
        rows[padding] = rows[1].roll(1)
    return model


def factored(name: str, calibration: torch.Tensor) -> tuple[nn.Module, Inventory, dict[tuple[str, ...], Factors]]:
    """Return a toy model, its inventory, and the loss-metric factors of every block by member names."""
    module = build(name)
    inventory = take_inventory(module)
    spec = CalibrationSpec(compute_dtype="float32")
    layers = range(inventory.n_layers)
    statistics, _ = collect_statistics(module, inventory, calibration, spec, layers, ignore_progress)
    weights = {p.name: weight_matrix(part_named(module, p.name)).detach() for p in inventory.projections}
    factors = {
        block.members: block
        for group in inventory.groups
        for block in factorize(group, weights, statistics[group.layer], Metric.LOSS, 1e-6)
    }
    return module, inventory, factors


def tokens(n_sequences: int, length: int, seed: int = 1) -> torch.Tensor:
    """Return random token ids (n_sequences, length) of a skewed distribution."""
    generator = torch.Generator().manual_seed(seed)
    weights = 1 / torch.arange(1, 161).float()
    drawn = torch.multinomial(weights, n_sequences * length, replacement=True, generator=generator)
    return drawn.view(n_sequences, length)
