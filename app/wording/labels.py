"""Names and numbers as people read them; free of Streamlit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from engine.results.words import method_title, percent
from engine.types import Format, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.costed_maps import CostedMap
    from engine.types import BlockRank, Projection

METRICS: Final[Mapping[Metric, str]] = {
    Metric.WEIGHT: "Weight: the matrix itself",
    Metric.INPUT: "Input: weighted by the projection's inputs",
    Metric.FEATURE: "Feature: of the projection's outputs",
    Metric.LOSS: "Loss: weighted by the effect on the model's loss",
}
WEIGHTINGS: Final[Mapping[Metric, str]] = {
    Metric.WEIGHT: "None",
    Metric.INPUT: "Inputs",
    Metric.FEATURE: "Outputs",
    Metric.LOSS: "Loss",
}
"""The same in one word, for a choice that explains them."""

FORMATS: Final[Mapping[Format, str]] = {
    Format.DENSE: "dense",
    Format.LOW_RANK: "low-rank",
    Format.CAT: "cat (shared)",
    Format.SKIP: "skip",
    Format.SKIP_CAT: "skip+cat (shared)",
    Format.WIDTH: "width (fewer neurons)",
}

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")


def plain(text: str) -> str:
    """Return text from outside so that Markdown shows it as it is: no links, images, colours or formulas."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def slug(text: str, also: str) -> str:
    """Return text as part of a file's name: ASCII letters, digits and ``also``, with dashes for everything else.

    Args:
        text: any.
        also: further characters that stay, as they stand in a class of a regular expression.
    """
    return re.sub(rf"[^A-Za-z0-9{also}]+", "-", text).strip("-.")


def map_label(costed: CostedMap) -> str:
    """Return what a map is called that nobody named, such as ``Water-filling, 80.0 % kept``."""
    return f"{method_title(costed.method)}, {percent(costed.cost.kept_fraction)} kept"


def projection_label(projection: Projection) -> str:
    """Return the short name of a projection, such as ``L3 q``."""
    return f"L{projection.layer} {projection.kind}"


def cut_in_words(block: BlockRank) -> str:
    """Return why the projections of a block are cut together."""
    if block.format is Format.WIDTH:
        return "a narrowed MLP loses its neurons in all of them"
    return "they share one inner factor"


def block_label(members: Sequence[str], projections: Mapping[str, Projection]) -> str:
    """Return the short name of a block, such as ``L3 q+k+v``."""
    block = [projections[name] for name in members]
    return f"L{block[0].layer} " + "+".join(p.kind for p in block)
