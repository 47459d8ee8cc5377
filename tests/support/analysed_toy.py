"""A model small enough to be analysed in seconds, and text for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.conftest import TOY_LINES

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

N_LAYERS = 3


def save_toy_model(folder: Path, tokenizer: PreTrainedTokenizerFast, head_size: int = 16) -> Path:
    """Write a random model of three layers and its tokenizer as a transformers folder."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_size,
        vocab_size=len(tokenizer),
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_corpus(path: Path) -> Path:
    """Write sixty paragraphs."""
    paragraphs = (
        f"Paragraph {i}. " + " ".join(TOY_LINES[(i + j) % len(TOY_LINES)] for j in range(6)) for i in range(60)
    )
    path.write_text("\n\n".join(paragraphs), encoding="utf-8")
    return path
