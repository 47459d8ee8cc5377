"""What identifies a rank map and what was measured of it; without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache import Key, fingerprint

if TYPE_CHECKING:
    from engine.rank_map.document import RankMap

SCHEMA_VERSION = 1
EVALUATION = "evaluation.json"
"""The member of a measured perplexity that says what was measured, of what and how."""
MEASUREMENT = "measurement.json"
"""The member of every part of an evaluation that says what was measured, of what and how."""
ITEMS = "items.safetensors"
"""The member of a task's scores that holds the score of every item."""
ARTICLES = "scores.safetensors"
"""The member of summaries that holds the score of every article."""


def decided(rank_map: RankMap) -> dict[str, object]:
    """Return what a rank map does, apart from its name and method."""
    blocks = sorted([*b.members, b.format, b.rank or 0] for b in rank_map.blocks if b.rank is not None)
    rounded = sorted([*b.members, b.bits] for b in rank_map.blocks if b.is_rounded)
    return {"blocks": blocks, "metric": rank_map.metric, **({"bits": rounded} if rounded else {})}


def map_id(rank_map: RankMap, refinement: str | None = None, weight_bits: int = 16) -> str:
    """Return what identifies a rank map by what it does, its refined factors if there are any, and rounded weights.

    Two maps are the same, and what was measured of one is measured of the other, exactly if these are equal.
    """
    plain = fingerprint("rank-map", decided(rank_map), schema_version=SCHEMA_VERSION)
    factors = plain if refinement is None else f"{plain}+{refinement}"
    return factors if weight_bits == 16 else f"{factors}@{weight_bits}"


def part_key(
    stage: str, spec: object, model: str, data: str, subject: tuple[str, RankMap] | None, rounding: object = None
) -> Key:
    """Return the key of a part of an evaluation beside its perplexity.

    Args:
        stage: which part.
        spec: how it is measured.
        model: fingerprint of the dense model.
        data: fingerprint of the text or items; empty where there are none.
        subject: the analysis and the rank map; ``None`` for the dense model, which all analyses of it share.
        rounding: of the subject's weights, if they are rounded.
    """
    mapped = [] if subject is None else [subject[0], map_id(subject[1])]
    if rounding is not None and subject is not None:
        mapped.append(fingerprint("rounding", rounding, schema_version=SCHEMA_VERSION))
    return Key(stage, fingerprint(stage, spec, [model, data, *mapped], schema_version=SCHEMA_VERSION))
