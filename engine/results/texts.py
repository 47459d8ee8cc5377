"""The texts that rank maps were measured on, and which of them comes first; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.results.rows import by_setting, of_setting
from engine.results.words import unambiguous

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from engine.results.rows import PerplexityResult, ResultRow


@dataclass(frozen=True, slots=True)
class MeasuredText:
    """One text in one amount and type.

    Attributes:
        name: for people, who see where it is the calibration text.
        title: the name, made unique among the texts of a table by its amount and type.
        about: the name with its amount and type.
        setting: of the perplexities measured on it; no other perplexity compares with them.
        dense_perplexity: of the dense model.
        rows: the rank maps measured on it, without the dense model, refined factors and rounded weights.
    """

    name: str
    title: str
    about: str
    setting: tuple[Hashable, ...]
    dense_perplexity: float
    rows: tuple[ResultRow, ...]

    def of(self, row: ResultRow) -> PerplexityResult | None:
        """Return what was measured of a row on this text, the newest first; ``None`` where nothing was."""
        return of_setting(row.perplexities, self.setting)


def measured_texts(rows: Sequence[ResultRow]) -> tuple[MeasuredText, ...]:
    """Return the texts on which any of the rows was measured, in the order in which they are shown everywhere.

    The first is the text with the most measured maps, because predictions are steadiest there and most maps compare.
    Of texts with as many the one with more tokens comes first, then the one measured last. Neither the dense model nor
    refined factors nor rounded weights count.
    """
    every = sorted((p for row in rows for p in row.perplexities), key=lambda p: p.provenance.created, reverse=True)
    maps = [row for row in rows if row.is_plain]
    measured = {
        p.setting: tuple(row for row in maps if of_setting(row.perplexities, p.setting)) for p in by_setting(every)
    }
    found = sorted(by_setting(every), key=lambda p: (-len(measured[p.setting]), -p.n_tokens))
    titles = unambiguous([p.text for p in found], [p.measured_on for p in found])
    return tuple(
        MeasuredText(p.text_title, title, p.measured_on, p.setting, p.dense_perplexity, measured[p.setting])
        for title, p in zip(titles, found, strict=True)
    )
