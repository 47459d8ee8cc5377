"""A byte-level BPE tokenizer as llama.cpp reads it: tokens, merges, special tokens and the chat template."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gguf import TokenType

from engine.errors import ExportError

if TYPE_CHECKING:
    from gguf import GGUFWriter

_DIGITS = {"type": "Digits", "individual_digits": True}
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {_WORDS % r"\p{N}{1,3}": "llama-bpe", _WORDS % r"\p{N}": "qwen2"}
"""Expression by which a tokenizer splits text into words -> llama.cpp's name of it."""


def add_vocabulary(writer: GGUFWriter, tokenizer: Any, n_tokens: int) -> None:
    """Write a tokenizer's parts into a file's metadata.

    Args:
        writer: of the file.
        tokenizer: of the model.
        n_tokens: rows of the embedding; those without a token are padding.

    Raises:
        ExportError: llama.cpp would split text in another way.
    """
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    model = document["model"]
    splitting = _splitting(document)
    if model["type"] != "BPE" or splitting is None:
        raise ExportError(
            "The model's tokenizer is not one that a GGUF export can describe (byte-level BPE that splits text as "
            "GPT-2, SmolLM, LLaMA 3 or Qwen 2 do); export it with the format dense."
        )
    tokens = [f"[PAD{at}]" for at in range(n_tokens)]
    types = [TokenType.UNUSED] * n_tokens
    for token, at in model["vocab"].items():
        tokens[at], types[at] = token, TokenType.NORMAL
    for added in document["added_tokens"]:
        kind = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], kind
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitting)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
    for add, at in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
    ):
        if at is not None:
            add(at)
    writer.add_add_bos_token(tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _splitting(document: dict[str, Any]) -> str | None:
    """Return llama.cpp's name of how a tokenizer splits text into words, or ``None`` if it has none that is known."""
    splitter = document["pre_tokenizer"] or {}
    parts = splitter.get("pretokenizers", [splitter])
    *before, last = parts
    if document["normalizer"] not in (None, {"type": "NFC"}) or last.get("type") != "ByteLevel":
        return None
    if last.get("add_prefix_space"):
        return None
    if last.get("use_regex", True):
        return "gpt-2" if not before else "smollm" if before == [_DIGITS] else None
    if len(before) == 1 and before[0].get("type") == "Split":
        return _SPLITS.get(before[0]["pattern"].get("Regex", ""))
    return None
