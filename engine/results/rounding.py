"""What rounding alone does beside a rank map of the same size; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.results.rows import DENSE
from engine.results.words import megabytes, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText


ROUNDED_UP_TO: Final = 10.0
"""Times the dense model's perplexity; rounded models beyond are in tables and not in charts."""


def rounded_dense(rows: Sequence[ResultRow], text: MeasuredText) -> list[ResultRow]:
    """Return the dense model at fewer bits than 16, as often as it was measured on a text."""
    return [row for row in rows if row.method == DENSE and row.weight_bits < 16 and text.of(row) is not None]


def rounding_instead(rows: Sequence[ResultRow], text: MeasuredText, n_bytes: int, perplexity_ratio: float) -> str:
    """Say which rounded dense model is smaller and better than what was chosen; nothing if none is.

    Args:
        rows: everything measured with the analysis.
        text: on which.
        n_bytes: of what was chosen.
        perplexity_ratio: its perplexity over the dense model's, measured or predicted.
    """
    found = [(one.ratio, row) for row in rounded_dense(rows, text) if (one := text.of(row)) is not None]
    better = [pair for pair in found if pair[0] <= perplexity_ratio and pair[1].model_bytes <= n_bytes]
    if not better:
        return ""
    best, row = min(better, key=lambda pair: (pair[0], pair[1].model_bytes))
    return (
        f"Rounding alone does better at this size: the dense model at {row.weight_bits} bits takes "
        f"{megabytes(row.model_bytes)} and has {ratio(best)} the perplexity of 16 bits, this one takes "
        f"{megabytes(n_bytes)} and has {ratio(perplexity_ratio)}."
    )


def sizes_in_words(row: ResultRow) -> str:
    """Return the bytes of a map at every number of bits: 227 MB at 16 bits, 142 MB at 8, 104 MB at 4."""
    stored = row.size.model_bytes
    if row.rank_map is not None and row.rank_map.is_rounded:
        return f"{megabytes(row.model_bytes)} with the bits of its blocks"
    return (
        f"{megabytes(stored['float16'])} at 16 bits, {megabytes(stored['int8'])} with its projections at 8, "
        f"{megabytes(stored['int4'])} at 4"
    )
