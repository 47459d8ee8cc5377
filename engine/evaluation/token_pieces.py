"""Tokens as the pieces of text they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def token_pieces(tokenizer: Any, tokens: Sequence[int]) -> list[str]:
    """Return what every token adds to a text, its spaces included; a part of a character is the sign that says so.

    A token is decoded after the one before it, because tokenizers leave out the space that begins a text.
    """
    pieces = []
    for place, token in enumerate(tokens):
        before = tokens[max(place - 1, 0) : place]
        known, whole = (
            tokenizer.decode(some, clean_up_tokenization_spaces=False) for some in (before, [*before, token])
        )
        pieces.append(whole[len(known) :] if whole.startswith(known) else tokenizer.decode([token]))
    return pieces
