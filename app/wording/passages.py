"""Passages as HTML in which every token has the colour of what a cut costs there; free of Streamlit."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.passages import Passage, Token

STRONGEST_NATS: Final = 3.0
"""An increase whose colour is the strongest, where a whole map is measured."""

_LEAST: Final = 0.04
"""Opacity below which a token has no colour."""

_WORSE, _BETTER = "230,97,1", "33,102,172"
_STRONGEST: Final = 0.5


def coloured(passage: Passage, strongest_nats: float = STRONGEST_NATS) -> str:
    """Return the passage as inner HTML: orange where the compressed model pays more nats, blue where it pays fewer.

    The underline tells them apart without colour, and each token says its numbers when pointed at.

    Args:
        passage: of a measured text.
        strongest_nats: an increase or decrease whose colour is the strongest.
    """
    return "".join(_token(token, strongest_nats) for token in passage.tokens)


def strongest_of(found: Sequence[Passage]) -> float:
    """Return the largest increase of any token; where there is none, what a whole map's colours go by."""
    return max((passage.worst.increase for passage in found), default=0.0) or STRONGEST_NATS


def _token(token: Token, strongest_nats: float) -> str:
    shown = escape(token.piece)
    if token.dense is None or token.compressed is None:
        return shown
    opacity = min(abs(token.increase) / strongest_nats, 1.0) * _STRONGEST
    digits = 2 if strongest_nats >= 1 else 4
    said = (
        f"{token.increase:+.{digits}f} nats: dense {token.dense:.{digits}f}, compressed {token.compressed:.{digits}f}"
    )
    if opacity < _LEAST:
        return f'<span title="{said}">{shown}</span>'
    is_worse = token.increase > 0
    colour = _WORSE if is_worse else _BETTER
    line = "solid" if is_worse else "dotted"
    style = f"background:rgba({colour},{opacity:.2f});text-decoration:underline {line} rgba({colour},{2 * opacity:.2f})"
    return f'<span title="{said}" style="{style}">{shown}</span>'
