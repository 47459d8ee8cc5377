"""Perplexity, per text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.results.columns._base import Kind, Measure, Quantity, Role
from engine.results.texts import measured_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engine.results.rows import PerplexityResult, ResultRow
    from engine.results.texts import MeasuredText


def text_measures(rows: Sequence[ResultRow]) -> tuple[Measure, ...]:
    """Return the columns of every text."""
    return tuple(measure for text in measured_texts(rows) for measure in _of_text(text))


def _of_text(text: MeasuredText) -> tuple[Measure, ...]:
    def measure(
        name: str, title: str, about: str, kind: Kind, role: Role, get: Callable[[PerplexityResult], Quantity | None]
    ) -> Measure:
        def of(row: ResultRow) -> Quantity | None:
            found = text.of(row)
            return None if found is None else get(found)

        whole = f"{title}: {text.title}"
        return Measure(f"{name}[{text.title}]", whole, about, kind, role, name != "agreement", of, text.title)

    def predicted(found: PerplexityResult) -> Quantity | None:
        if found.prediction is None:
            return None
        dense, prediction = found.dense_perplexity, found.prediction
        return Quantity(prediction.perplexity / dense, prediction.low / dense, prediction.high / dense)

    on = f"on {text.about}"
    return (
        measure(
            "perplexity_ratio",
            "Perplexity ÷ dense",
            f"Measured perplexity over that of the dense model {on}.",
            Kind.RATIO,
            Role.QUALITY,
            lambda p: Quantity(p.ratio),
        ),
        measure(
            "perplexity",
            "Perplexity",
            f"Measured {on}; the dense model has {text.dense_perplexity:.2f}.",
            Kind.NUMBER,
            Role.DETAIL,
            lambda p: Quantity(p.perplexity),
        ),
        measure(
            "predicted_perplexity_ratio",
            "Predicted ÷ dense",
            f"Predicted {on} from all other maps, with a 90 % interval.",
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
            lambda p: Quantity(p.divergence),
        ),
        measure(
            "agreement",
            "Same top token",
            f"Share of positions where both models put the same token first, {on}.",
            Kind.PERCENT,
            Role.DETAIL,
            lambda p: Quantity(p.agreement),
        ),
    )
