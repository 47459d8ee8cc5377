"""Passages of a measured text, token by token; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Token(NamedTuple):
    """A piece of text with the nats that either model pays for it; ``None``: it is not scored."""

    piece: str
    dense: float | None
    compressed: float | None

    @property
    def increase(self) -> float:
        """What the compressed model pays more, nats."""
        return 0.0 if self.dense is None or self.compressed is None else self.compressed - self.dense


@dataclass(frozen=True, slots=True)
class Passage:
    """A sequence of a text.

    Attributes:
        place: of the sequence in the text, from 1.
        tokens: its tokens; the first is not scored, because nothing comes before it.
    """

    place: int
    tokens: tuple[Token, ...]

    @property
    def damage(self) -> float:
        """What the compressed model pays more, nats per scored token."""
        return sum(token.increase for token in self.tokens) / max(len(self.tokens) - 1, 1)

    @property
    def worst(self) -> Token:
        """The token that the compressed model pays most more for."""
        return max(self.tokens, key=lambda token: token.increase)

    def around_worst(self, n_tokens: int) -> Passage:
        """Return the ``n_tokens`` in a row for which the compressed model pays most more."""
        increases = np.array([token.increase for token in self.tokens])
        sums = np.convolve(increases, np.ones(min(n_tokens, len(increases))), "valid")
        begin = int(sums.argmax())
        return Passage(self.place, self.tokens[begin : begin + n_tokens])


def most_damaged_first(
    pieces: Sequence[Sequence[str]], dense: NDArray[np.float32], compressed: NDArray[np.float32]
) -> list[Passage]:
    """Return every sequence as a passage, the one with the largest mean increase first.

    Args:
        pieces: of every sequence.
        dense: (n_sequences, length - 1) nats of the dense model for every token but the first.
        compressed: the same of the compressed one.
    """
    passages = []
    for place, (texts, before, after) in enumerate(zip(pieces, dense, compressed, strict=True), 1):
        scored = (Token(*one) for one in zip(texts[1:], before.tolist(), after.tolist(), strict=True))
        passages.append(Passage(place, (Token(texts[0], None, None), *scored)))
    return sorted(passages, key=lambda passage: passage.damage, reverse=True)
