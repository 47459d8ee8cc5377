"""Answers of models as HTML in which nothing a model wrote is markup; free of Streamlit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARKS: Final = (
    "background:rgba(86,180,233,.22);text-decoration:underline dotted",
    "background:rgba(230,159,0,.22);text-decoration:underline solid",
)
"""Of words that only the first and only the second text has; the underline tells them apart without colour."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two texts with what differs marked.

    Attributes:
        first: inner HTML of the first text.
        second: inner HTML of the second one.
        n_equal: words both begin with.
        is_equal: the texts have the same words.
    """

    first: str
    second: str
    n_equal: int
    is_equal: bool


def titles_of(compressed: str, instead: str = "") -> tuple[str, str]:
    """Return what the two models that answer are called.

    Args:
        compressed: which model the second one is.
        instead: which compressed model answers in the place of the dense one; empty: none does.
    """
    return f"Compressed: {instead}" if instead else "Dense model", f"Compressed: {compressed}"


def compare(first: str, second: str) -> Comparison:
    """Mark the words that only one of two texts has, from the first differing word on.

    Nothing is marked where the texts have too little in common for that to say anything.
    """
    left, right = (re.findall(r"\s*\S+", text) for text in (first, second))
    words = [[piece.lstrip() for piece in pieces] for pieces in (left, right)]
    shorter = min(map(len, words))
    n_equal = next((i for i in range(shorter) if words[0][i] != words[1][i]), shorter)
    parts = [[escape("".join(pieces[:n_equal]))] for pieces in (left, right)]
    # What they begin with is not left to the matcher, which prefers the longest run anywhere.
    matcher = SequenceMatcher(None, words[0][n_equal:], words[1][n_equal:], autojunk=False)
    n_shared = n_equal + sum(block.size for block in matcher.get_matching_blocks())
    is_telling = 2 * n_shared >= shorter
    for tag, i, j, k, m in matcher.get_opcodes():
        for side, (pieces, begin, end) in enumerate(((left, i, j), (right, k, m))):
            text = "".join(pieces[n_equal + begin : n_equal + end])
            parts[side].append(_mark(text, _MARKS[side]) if tag != "equal" and is_telling else escape(text))
    for side, text in enumerate((first, second)):
        parts[side].append(escape(text[len(text.rstrip()) :]))
    return Comparison("".join(parts[0]), "".join(parts[1]), n_equal, words[0] == words[1])


def framed(inner: str, label: str) -> str:
    """Return HTML that shows inner HTML with its line breaks, named for screen readers."""
    style = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.55"
    return f'<div role="region" aria-label="{escape(label)}" style="{style}">{inner}</div>'


def numbers(tiles: Sequence[tuple[str, str, str]]) -> str:
    """Return labelled numbers in one row, whose places stay where they are while the numbers change.

    Args:
        tiles: label, number, and what it means, which appears over the label.
    """
    cell = (
        '<div><div style="font-size:.8rem;opacity:.8"><abbr title="{}" tabindex="0">{}</abbr></div>'
        '<div style="font-size:1.3rem">{}</div></div>'
    )
    cells = "".join(cell.format(escape(about), escape(label), escape(value)) for label, value, about in tiles)
    style = f"display:grid;grid-template-columns:repeat({len(tiles)},1fr);font-variant-numeric:tabular-nums"
    return f'<div style="{style}">{cells}</div>'


def ending(n_tokens: int, most: int, *, is_complete: bool) -> str:
    """Return how an answer ended; nothing while it is written, and where the limit ended it."""
    if not is_complete or n_tokens >= most:
        return ""
    return f"ended by itself after {n_tokens} {'token' if n_tokens == 1 else 'tokens'}"


def unmarked(text: str, *, is_growing: bool) -> str:
    """Return a text as inner HTML, with a cursor while more is to come."""
    return escape(text) + ('<span aria-hidden="true">▍</span>' if is_growing else "")


def _mark(text: str, style: str) -> str:
    """Mark a run of words, the white space before it left out."""
    if not text:
        return ""
    shown = text.lstrip()
    space = text[: len(text) - len(shown)]
    return f'{escape(space)}<mark style="color:inherit;{style}">{escape(shown)}</mark>'
