"""What a tokenizer begins every text with: the state a model was trained in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def start_tokens(tokenizer: Any) -> list[int]:
    """Return the ids a tokenizer puts before every text; none for many."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    return next((whole[:n] for n in range(len(whole)) if whole[n : n + len(plain)] == plain), [])


def without_start(start: Sequence[int], tokens: Sequence[int]) -> Sequence[int]:
    """Return a text's ids without the start, if they have it."""
    return tokens[len(start) :] if list(tokens[: len(start)]) == list(start) else tokens
