"""What the rank board needs to allocate in the browser: the curves of an analysis as bytes; free of torch.

The bytes are a header and one stream per metric. A stream holds the nats of every curve, one after the other: per
group its members', then the shared one if there is one, then that of an MLP's width if the metric has it; of each
curve the multiples of ``rank_step`` from 0 up to its largest rank. All are in double precision, so that the browser's
allocations are exactly Python's, also where a predicted perplexity decides how large they are.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from engine.allocation import EvaluatedMap, PredictedMaps
    from engine.methods.presets import Preset
    from engine.types import DistortionCurve, GroupCurves, Metric

MOST_VALUES: Final = 200_000
"""Values per metric that are sent: about 1.2 MB."""

VALUE_BYTES: Final = 8


def board_step(groups: Iterable[GroupCurves]) -> int:
    """Return the smallest power of two whose multiples as ranks keep the curves below :data:`MOST_VALUES`."""
    reaches = np.array([curve.max_rank for group in groups for curve in _curves(group)], dtype=np.int64)
    step = 1
    while int((reaches // step + 1).sum()) > MOST_VALUES and step < reaches.max():
        step *= 2
    return step


def encode_curves(
    groups_by_metric: Mapping[Metric, Sequence[GroupCurves]],
    rank_step: int,
    name: str,
    predicted: PredictedMaps | None = None,
) -> bytes:
    """Return the curves of every metric, and in the header what a search on predictions found.

    The layout is: the header's length (4 bytes, little-endian), the header (JSON, UTF-8), then a zlib stream
    per metric of the values' bytes, first all lowest bytes, then all second-lowest and so on, little-endian.

    Args:
        groups_by_metric: the same groups in every metric, in model order; at least one metric.
        rank_step: ranks are multiples of it.
        name: what the browser keeps them under; different content needs a different name.
        predicted: the best maps of every size; ``None``: there are none.
    """
    # An MLP has a width in some metrics only.
    widths = [
        next((g.width for g in same if g.width is not None), None)
        for same in zip(*groups_by_metric.values(), strict=True)
    ]
    streams: list[bytes] = []
    metrics: list[dict[str, object]] = []
    for metric, groups in groups_by_metric.items():
        curves = [curve for group in groups for curve in _curves(group)]
        values = np.concatenate([curve.nats[::rank_step] for curve in curves])
        by_value = values.astype("<f8").view(np.uint8).reshape(-1, VALUE_BYTES)
        streams.append(zlib.compress(by_value.T.tobytes(), 6))
        reaches = [r for group, width in zip(groups, widths, strict=True) for r in _reaches(group, width)]
        metrics.append({"name": metric.value, "n_bytes": len(streams[-1]), "reaches": reaches})
    groups = next(iter(groups_by_metric.values()))
    header = json.dumps(
        {
            "name": name,
            "rank_step": rank_step,
            "metrics": metrics,
            "groups": [_group_json(group, width) for group, width in zip(groups, widths, strict=True)],
            "predicted": None if predicted is None else _predicted_json(predicted),
        },
        separators=(",", ":"),
    ).encode()
    return b"".join([struct.pack("<I", len(header)), header, *streams])


def presets_json(presets: Iterable[Preset]) -> list[dict[str, object]]:
    """Return the methods as the browser's allocators read them."""
    return [
        {
            "name": preset.name,
            "title": preset.title,
            "summary": preset.summary,
            "metric": preset.metric.value,
            "allocator": preset.allocator,
            "formats": sorted(preset.formats),
        }
        for preset in presets
    ]


def evaluated_json(evaluated: Iterable[EvaluatedMap], groups: Sequence[GroupCurves]) -> list[dict[str, object]]:
    """Return the maps that searches have measured, with their predicted nats.

    They are sent with every answer, so that of a map only its one factored format and the projections' ranks in model
    order are given.

    Args:
        evaluated: of one analysis.
        groups: its curves in the metric the maps' factors are made in.
    """
    curves = {curve.members: curve for group in groups for curve in group.separate}
    documents = []
    for each in evaluated:
        ranks = {b.members: b.rank for b in each.blocks}
        (factored,) = {b.format.value for b in each.blocks if b.rank is not None} or {Format.LOW_RANK.value}
        documents.append(
            {
                "params": each.params,
                "objective": each.objective,
                "measure": each.measure,
                "created": each.created,
                "nats": sum(float(curves[members].nats[r]) for members, r in ranks.items() if r is not None),
                "format": factored,
                "ranks": [ranks[members] for members in curves],
            }
        )
    return documents


def _curves(group: GroupCurves) -> list[DistortionCurve]:
    return [*group.separate, *(curve for curve in (group.shared, group.width) if curve is not None)]


def _reaches(group: GroupCurves, width: DistortionCurve | None) -> list[int | None]:
    """Return the largest ranks of a group's curves; ``None`` where only another metric has a width."""
    missing = [None] if width is not None and group.width is None else []
    return [*(curve.max_rank for curve in _curves(group)), *missing]


def _predicted_json(predicted: PredictedMaps) -> dict[str, object]:
    """Return searched maps without the names of projections, which the groups give in the same order."""
    return {field: getattr(predicted, field) for field in ("columns", "ranks", "params", "nats")}


def _group_json(group: GroupCurves, width: DistortionCurve | None) -> dict[str, object]:
    return {
        "in_features": group.separate[0].in_features,
        "matrices": group.separate[0].matrices,
        "members": [[curve.name, curve.out_features, curve.importance] for curve in group.separate],
        "shared": None if group.shared is None else [group.shared.out_features, group.shared.importance],
        "width": None if width is None else [width.members, width.out_features],
    }
