"""Perplexity, per text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.results.columns._base import Figure, Kind, Measure, Role, by_setting, of_setting
from engine.results.words import unambiguous

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from engine.results.rows import PerplexityResult, ResultRow


@dataclass(frozen=True, slots=True)
class TextColumn:
    """One text in one amount and type.

    Attributes:
        title: unique among the texts of a table.
        about: its name with its amount and type.
        setting: of the perplexities measured on it.
        dense_perplexity: of the dense model.
    """

    title: str
    about: str
    setting: tuple[Hashable, ...]
    dense_perplexity: float

    def of(self, row: ResultRow) -> PerplexityResult | None:
        """Return what was measured of a row on this text."""
        return of_setting(row.perplexities, self.setting)


def text_columns(rows: Sequence[ResultRow]) -> tuple[TextColumn, ...]:
    """Return the texts on which any of the rows was measured: those of most rows first, then the longest."""
    every = sorted((p for row in rows for p in row.perplexities), key=lambda p: p.provenance.created, reverse=True)
    n_rows = Counter(p.setting for p in every)
    found = sorted(by_setting(every), key=lambda p: (-n_rows[p.setting], -p.n_tokens))
    short = [p.text for p in found]
    long = [f"{p.text}, {p.n_tokens:,} tokens, {p.provenance.dtype}" for p in found]
    return tuple(
        TextColumn(title, about, p.setting, p.dense_perplexity)
        for title, about, p in zip(unambiguous(short, long), long, found, strict=True)
    )


def text_measures(rows: Sequence[ResultRow]) -> tuple[Measure, ...]:
    """Return the columns of every text."""
    return tuple(measure for text in text_columns(rows) for measure in _of_text(text))


def _of_text(text: TextColumn) -> tuple[Measure, ...]:
    def measure(
        name: str, title: str, about: str, kind: Kind, role: Role, get: Callable[[PerplexityResult], Figure | None]
    ) -> Measure:
        def of(row: ResultRow) -> Figure | None:
            found = text.of(row)
            return None if found is None else get(found)

        whole = f"{title}: {text.title}"
        return Measure(f"{name}[{text.title}]", whole, about, kind, role, name != "agreement", of, text.title)

    def predicted(found: PerplexityResult) -> Figure | None:
        if found.prediction is None:
            return None
        dense, prediction = found.dense_perplexity, found.prediction
        return Figure(prediction.perplexity / dense, prediction.low / dense, prediction.high / dense)

    on = f"on {text.about}"
    return (
        measure(
            "perplexity_ratio",
            "Perplexity ÷ dense",
            f"Measured perplexity over that of the dense model {on}.",
            Kind.RATIO,
            Role.QUALITY,
            lambda p: Figure(p.ratio),
        ),
        measure(
            "perplexity",
            "Perplexity",
            f"Measured {on}; the dense model has {text.dense_perplexity:.2f}.",
            Kind.NUMBER,
            Role.DETAIL,
            lambda p: Figure(p.perplexity),
        ),
        measure(
            "predicted_perplexity_ratio",
            "Predicted ÷ dense",
            f"Predicted {on} from all other maps; nine cases in ten lie in its interval.",
            Kind.RATIO,
            Role.DETAIL,
            predicted,
        ),
        measure(
            "divergence",
            "Divergence",
            f"KL divergence from the dense model {on}, nats per token.",
            Kind.NUMBER,
            Role.DETAIL,
            lambda p: Figure(p.divergence),
        ),
        measure(
            "agreement",
            "Same top token",
            f"Share of positions where both models put the same token first, {on}.",
            Kind.PERCENT,
            Role.DETAIL,
            lambda p: Figure(p.agreement),
        ),
    )
