"""Passages as HTML in which every token has the colour of what a cut costs there; free of Streamlit."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from engine.results.passages import Passage, Token

_FULL_NATS: Final = 3.0
"""An increase whose colour is the strongest."""

_LEAST: Final = 0.04
"""Opacity below which a token has no colour."""

_WORSE, _BETTER = "230,97,1", "33,102,172"
_STRONGEST: Final = 0.5


def coloured(passage: Passage) -> str:
    """Return the passage as inner HTML: orange where the compressed model pays more nats, blue where it pays fewer.

    The underline tells them apart without colour, and each token says its numbers when pointed at.
    """
    return "".join(map(_token, passage.tokens))


def _token(token: Token) -> str:
    shown = escape(token.piece)
    if token.dense is None or token.compressed is None:
        return shown
    opacity = min(abs(token.increase) / _FULL_NATS, 1.0) * _STRONGEST
    said = f"{token.increase:+.2f} nats: dense {token.dense:.2f}, compressed {token.compressed:.2f}"
    if opacity < _LEAST:
        return f'<span title="{said}">{shown}</span>'
    is_worse = token.increase > 0
    colour = _WORSE if is_worse else _BETTER
    line = "solid" if is_worse else "dotted"
    style = f"background:rgba({colour},{opacity:.2f});text-decoration:underline {line} rgba({colour},{2 * opacity:.2f})"
    return f'<span title="{said}" style="{style}">{shown}</span>'
