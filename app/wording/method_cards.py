"""The words, formats and methods as Markdown, with what each method did on a model; free of Streamlit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.wording.labels import FORMATS, plain
from engine.methods.presets import PRESETS
from engine.results import glossary
from engine.results.words import percent, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.methods.presets import Preset
    from engine.results.texts import MeasuredText


def words() -> str:
    """Return the glossary."""
    return "\n\n".join(f"**{term.word}.** {plain(term.meaning)}" for term in glossary.TERMS)


def formats() -> str:
    """Return what the formats are, as a list."""
    return "\n".join(f"- **{plain(FORMATS[name])}**: {plain(about)}" for name, about in glossary.FORMATS.items())


def method_card(preset: Preset, text: MeasuredText | None) -> str:
    """Return what a method does, what it costs, where it comes from, and what was measured of it.

    Args:
        preset: the method.
        text: on which maps were measured; ``None``: none was.
    """
    card = glossary.METHODS[preset.name]
    paper = f"[arXiv:{preset.paper}](https://arxiv.org/abs/{preset.paper})" if preset.paper else "RankScope's own"
    stored = ", ".join(FORMATS[name] for name in glossary.FORMATS if name in preset.formats)
    return (
        f"{plain(card.idea)}\n\n`{card.formula}`\n\n"
        f"- **Cost of choosing the ranks:** {plain(card.cost)}\n- **Formats:** {plain(stored)}\n- **Source:** {paper}\n"
        f"- **On this model:** {_measured(preset, text)}"
    )


def method_cards(text: MeasuredText | None) -> list[tuple[str, str]]:
    """Return the title and the card of every method."""
    return [(preset.title, method_card(preset, text)) for preset in PRESETS.values()]


def _measured(preset: Preset, text: MeasuredText | None) -> str:
    """Return the perplexities over dense of a method's maps, the largest first."""
    rows: Sequence[str] = ()
    if text is not None:
        own = [row for row in text.rows if row.method == preset.name]
        rows = [
            f"{ratio(result.ratio)} at {percent(row.size.kept_fraction)} kept"
            for row in own
            if (result := text.of(row)) is not None
        ]
    if text is None or not rows:
        return "not measured yet."
    return f"perplexity over dense {', '.join(rows)}; measured on {plain(text.name)}."
