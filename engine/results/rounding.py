"""What rounding does beside a rank map of the same size; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from engine.rank_map.ceiling import ByteCeiling
from engine.results.rows import DENSE
from engine.results.words import megabytes, method_title, percent, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.rank_map.document import RankMap
    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText


ROUNDED_UP_TO: Final = 10.0
"""Times the dense model's perplexity; rounded models beyond are in tables and not in charts."""

_DIGITS: Final = 3
"""Of ratios, as they are shown: two that look the same are the same."""


class Chosen(NamedTuple):
    """A map that somebody looks at.

    Attributes:
        rank_map: of it.
        n_bytes: that the whole model takes.
        ratio: perplexity over the dense model's, measured or predicted.
        high: upper end of the predicted ratio; ``None``: it was measured.
    """

    rank_map: RankMap | None
    n_bytes: int
    ratio: float
    high: float | None = None

    @property
    def limit(self) -> int:
        """The bytes that were asked for, which are as good as those it takes."""
        ceiling = None if self.rank_map is None else self.rank_map.ceiling
        return max(self.n_bytes, ceiling.n_bytes) if isinstance(ceiling, ByteCeiling) else self.n_bytes


class Instead(NamedTuple):
    """A measured model with rounded weights, and why it is to be preferred."""

    row: ResultRow
    words: str


def rounded_instead(rows: Sequence[ResultRow], text: MeasuredText, chosen: Chosen) -> Instead | None:
    """Return the rounded model that is no larger than what was chosen and better, as measured; ``None``: none is.

    What was chosen and only predicted has to be measured first where the interval of its prediction leaves room for a
    rounded model that is better.

    Args:
        rows: everything measured with the analysis.
        text: on which.
        chosen: what it is compared with.
    """
    found = [
        (round(one.ratio, _DIGITS), row)
        for row in rows
        if row.rounded_to and row.refinement is None and row.model_bytes <= chosen.limit
        if (one := text.of(row)) is not None
    ]
    if not found:
        return None
    best, row = min(found, key=lambda pair: (pair[0], pair[1].model_bytes))
    is_better = (best, row.model_bytes) < (round(chosen.ratio, _DIGITS), chosen.n_bytes)
    if not is_better and (chosen.high is None or best >= chosen.high):
        return None
    measured = f"takes {megabytes(row.model_bytes)} and was measured at {ratio(best)} the dense model's perplexity"
    of_chosen = "was measured" if chosen.high is None else "is predicted"
    own = f"this map takes {megabytes(chosen.n_bytes)} and {of_chosen} at {ratio(chosen.ratio)}"
    if is_better:
        return Instead(row, f"Prefer {_name(row)}: on {text.title} it {measured}, {own}.")
    assert chosen.high is not None
    return Instead(
        row,
        f"Measure this map before you prefer it to {_name(row)}: on {text.title} that {measured}, {own}, up to "
        f"{ratio(chosen.high)}.",
    )


def _name(row: ResultRow) -> str:
    if row.method == DENSE:
        return f"the dense model at {row.rounded_to}"
    return f"{method_title(row.method)}, {percent(row.size.kept_fraction)} kept, with {row.rounded_to}"


def sizes_in_words(row: ResultRow) -> str:
    """Return the bytes of a map at every number of bits: 227 MB at 16 bits, 142 MB at 8, 104 MB at 4."""
    stored = row.size.model_bytes
    if row.rank_map is not None and row.rank_map.is_rounded:
        return f"{megabytes(row.model_bytes)} with the bits of its blocks"
    return (
        f"{megabytes(stored['float16'])} at 16 bits, {megabytes(stored['int8'])} with its projections at 8, "
        f"{megabytes(stored['int4'])} at 4"
    )
