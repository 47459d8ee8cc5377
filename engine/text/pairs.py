"""Texts with a reference answer each: articles and summaries of the demo, a data set or a ``.jsonl`` file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import CorpusError
from engine.text.corpora import open_columns

if TYPE_CHECKING:
    from pathlib import Path

    from engine.specs import CorpusSpec


@dataclass(frozen=True, slots=True)
class TextPair:
    """One article and the summary somebody wrote of it."""

    text: str
    reference: str


def load_pairs(spec: CorpusSpec, reference_field: str, demo_texts: Path | None = None) -> list[TextPair]:
    """Return the first ``spec.n_sequences`` pairs in the order of the source; those with an empty side are left out.

    Args:
        spec: where the texts are; ``text_field`` is the column of the articles (not used for the demo, which has
            pairs in ``news`` only).
        reference_field: the column of the summaries; not used for the demo.
        demo_texts: folder of the fetched demo texts; needed for the demo's texts only.

    Raises:
        CorpusError: the source cannot be read, has no such columns, or holds too few pairs.
    """
    pairs: list[TextPair] = []
    for text, reference in open_columns(spec, reference_field, demo_texts):
        if text.strip() and reference.strip():
            pairs.append(TextPair(text.strip(), reference.strip()))
        if len(pairs) == spec.n_sequences:
            return pairs
    raise CorpusError(
        f"The text {spec.label} has {len(pairs):,} pairs with two filled sides, and {spec.n_sequences:,} are needed; "
        "ask for fewer, or give more."
    )
