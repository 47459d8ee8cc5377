"""What methods and saved maps decide."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from app.costed_maps import NoMap
from app.wording.labels import FORMATS, block_label, projection_label
from engine.formats import allocated_params, block_params
from engine.methods.cost import rounding_nats
from engine.pipeline.reading.results import measured_on
from engine.results.words import method_title
from engine.types import BITS, BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.prediction.power_law import Predictor
    from engine.rank_map.difference import RankChange
    from engine.rank_map.named import NamedMap
    from engine.results.texts import MeasuredText


def methods(
    maps: Sequence[CostedMap | NoMap],
    text: MeasuredText | None,
    predictor: Predictor,
    dense_perplexity: float | None,
) -> pd.DataFrame:
    """Return one row per method at one budget; what is predicted of a measured map is predicted without it.

    Args:
        maps: of every method.
        text: on which maps were measured; ``None``: none were.
        predictor: calibrated on that text.
        dense_perplexity: on that text; ``None`` where it is not known.
    """
    rows = []
    for costed in maps:
        row: dict[str, object] = {"method": method_title(costed.method), "name": costed.method}
        if isinstance(costed, NoMap):
            rows.append({**row, "note": costed.reason})
            continue
        cost = costed.cost
        measured = None if text is None else measured_on(text, costed.rank_map)
        expected = None if measured is None else measured.prediction
        if measured is not None and expected is not None:
            of_dense = (expected.perplexity, expected.low, expected.high)
            predicted, low, high = (value / measured.dense_perplexity for value in of_dense)
        else:
            predicted, low, high = predictor.predict(cost.nats, costed.rank_map.metric).perplexities()
        row |= {
            "kept": cost.kept_fraction,
            "params": cost.params,
            "mb": cost.bytes_at("float16") / 1e6,
            "predicted_ratio": predicted,
            "predicted_low": low,
            "predicted_high": high,
            "predicted": math.nan if dense_perplexity is None else dense_perplexity * predicted,
            "measured_ratio": math.nan if measured is None else measured.ratio,
            "note": "",
        }
        rows.append(row)
    columns = [
        "method",
        "name",
        "kept",
        "params",
        "mb",
        "predicted_ratio",
        "predicted_low",
        "predicted_high",
        "predicted",
        "measured_ratio",
        "note",
    ]
    return pd.DataFrame(rows, columns=columns)


def projections(costed: CostedMap, analysis: Analysis) -> pd.DataFrame:
    """Return one row per projection, in model order, with what the map decides about it.

    A shared block decides about all of its members: they show its rank, kept fraction and nats.
    """
    decided = {name: block for block in costed.rank_map.blocks for name in block.members}
    nats = analysis.nats[costed.rank_map.metric]
    rows = []
    for p in analysis.inventory.projections:
        block = decided.get(p.name, BlockRank((p.name,), Format.DENSE, None))
        members = [analysis.projections[name] for name in block.members]
        is_width = block.format is Format.WIDTH
        full = members[-1].in_features if is_width else min(p.in_features, sum(m.out_features for m in members))
        rank = full if block.rank is None else block.rank
        rows.append(
            {
                "name": p.name,
                "block": projection_label(p),
                "decided_with": block_label(block.members, analysis.projections),
                "layer": p.layer,
                "kind": p.kind,
                "format": FORMATS[block.format],
                "rank": rank,
                "full_rank": full,
                "rank_fraction": rank / full,
                "kept": block_params(block, analysis.projections) / sum(m.params for m in members),
                "bits": block.bits or max(BITS),
                "nats": (0.0 if block.rank is None else float(nats[block.name][block.rank]))
                + rounding_nats(analysis, block, costed.rank_map.metric),
            }
        )
    return pd.DataFrame(rows)


def saved_maps(maps: Iterable[NamedMap], analysis: Analysis) -> pd.DataFrame:
    """Return one row per saved map."""
    compressible = analysis.inventory.compressible_params
    rows = [
        {
            "name": m.name,
            "kept": allocated_params(m.rank_map.blocks, analysis.inventory) / compressible,
            "method": method_title(m.rank_map.method),
            "metric": m.rank_map.metric,
            "created": m.created,
        }
        for m in maps
    ]
    return pd.DataFrame(rows, columns=["name", "kept", "method", "metric", "created"])


def difference(changes: Iterable[RankChange], analysis: Analysis) -> pd.DataFrame:
    """Return one row per projection that two maps decide differently; dense is shown as such, not as a rank."""
    rows = []
    for change in changes:
        sides = {
            name: "dense" if side.rank is None else f"{side.rank} {side.format}"
            for name, side in (("before", change.before), ("after", change.after))
        }
        rows.append(
            {
                "block": projection_label(analysis.projections[change.projection]),
                "layer": change.layer,
                "kind": change.kind,
                **sides,
                "gained": change.params,
                "share": change.params / analysis.projections[change.projection].params,
            }
        )
    return pd.DataFrame(rows)
