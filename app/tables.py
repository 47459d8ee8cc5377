"""Engine values as rows for people: pandas tables, one function per table; free of Streamlit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from app.labels import FORMATS, REFINEMENTS, TIMES, block_label, method_title, projection_label
from app.plans import Impossible, measurement_of
from engine.formats import block_params, max_useful_rank
from engine.rank_map import rank_map_params
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from app.plans import Plan
    from engine.analysis import Analysis
    from engine.curves import SpectrumSummary
    from engine.demo import Licence
    from engine.pipeline.named_maps import NamedMap
    from engine.prediction import Predictor
    from engine.rank_map_difference import RankChange
    from engine.schedules import RankSchedule
    from engine.types import Inventory

BYTES_PER_PARAM = 2
"""Sizes are shown at float16."""

SUMMARIES = {
    "effective_rank": "Effective rank",
    "rank_99": "Rank at 99 % energy",
    "stable_rank": "Stable rank",
}
"""Columns of :func:`spectra` that a heatmap can show."""

SCORES = {
    "importance": "FLRC importance",
    "predicted": "Predicted nats",
    "measured": "Measured nats",
}
"""Columns of :func:`sensitivity` that a heatmap can show."""


def shapes(inventory: Inventory) -> pd.DataFrame:
    """Return one row per kind and shape of projection, with its share of the model's parameters."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for group in inventory.groups:
        for p in group.members:
            shape = f"{p.out_features:,} {TIMES} {p.in_features:,}"
            reads = "+".join(m.kind for m in group.members) if len(group.members) > 1 else "alone"
            new = {
                "kind": p.kind,
                f"shape (out {TIMES} in)": shape,
                "shares its input": reads,
                "count": 0,
                "parameters": 0,
            }
            row = rows.setdefault((p.kind, shape), new)
            row["count"] += 1
            row["parameters"] += p.params
    table = pd.DataFrame(list(rows.values()))
    table["share of the model"] = table["parameters"] / inventory.total_params
    return table


def skipped(inventory: Inventory) -> pd.DataFrame:
    """Return the weights that are never compressed, and why."""
    rows = [
        {
            "weight": s.name,
            "parameters": s.params,
            "share of the model": s.params / inventory.total_params,
            "why it stays": s.reason,
        }
        for s in inventory.skipped
    ]
    return pd.DataFrame(rows, columns=["weight", "parameters", "share of the model", "why it stays"])


def licences(entries: Iterable[Licence]) -> pd.DataFrame:
    """Return the licences of the demo's parts."""
    return pd.DataFrame([{"part": e.what, "licence": e.licence, "from": e.source} for e in entries])


def spectra(analysis: Analysis, summaries: Mapping[str, SpectrumSummary]) -> pd.DataFrame:
    """Return one row per block, joined blocks included, with its spectrum's summary and break-even ranks."""
    rows = []
    for group in analysis.inventory.groups:
        blocks: list[tuple[str, ...]] = [(p.name,) for p in group.members]
        if len(group.members) > 1:
            blocks.append(tuple(p.name for p in group.members))
        for members in blocks:
            name = "+".join(members)
            if name not in summaries:
                continue
            s = summaries[name]
            joined = len(members) > 1
            width = sum(analysis.projections[m].out_features for m in members)
            factored = (Format.CAT, Format.SKIP_CAT) if joined else (Format.LOW_RANK, Format.SKIP)
            plain, skip = (max_useful_rank(f, group.in_features, width) for f in factored)
            rows.append(
                {
                    "name": name,
                    "block": block_label(members, analysis.projections),
                    "layer": group.layer,
                    "kind": "+".join(analysis.projections[m].kind for m in members),
                    "joined": joined,
                    "full_rank": s.full_rank,
                    "effective_rank": s.effective_rank,
                    "rank_99": s.rank_99,
                    "stable_rank": s.stable_rank,
                    "break_even": plain,
                    "break_even_skip": skip,
                }
            )
    return pd.DataFrame(rows)


def sensitivity(
    analysis: Analysis, predicted: Mapping[str, float], measured: Mapping[str, float] | None
) -> pd.DataFrame:
    """Return the scores of every projection; ``measured`` is missing where it was not."""
    rows = [
        {
            "name": p.name,
            "block": projection_label(p),
            "layer": p.layer,
            "kind": p.kind,
            "importance": float(analysis.importances[p.name][0]),
            "predicted": predicted[p.name],
            "measured": math.nan if measured is None else measured.get(p.name, math.nan),
        }
        for p in analysis.inventory.projections
    ]
    return pd.DataFrame(rows)


def rank_agreement(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the Spearman correlation of every two scores that are there."""
    there = [column for column in SCORES if scores[column].notna().any()]
    return scores[there].corr(method="spearman").rename(index=SCORES, columns=SCORES)


def methods(
    plans: Sequence[Plan | Impossible],
    runs: Sequence[Mapping[str, Any]],
    predictor: Predictor,
    dense_perplexity: float | None,
) -> pd.DataFrame:
    """Return one row per method at one budget.

    Args:
        plans: what every method would do.
        runs: measurements on one text.
        predictor: calibrated on that text.
        dense_perplexity: on that text; ``None`` where it is not known.
    """
    rows = []
    for plan in plans:
        row: dict[str, Any] = {"method": method_title(plan.method), "name": plan.method}
        if isinstance(plan, Impossible):
            rows.append({**row, "note": plan.reason})
            continue
        cost = plan.cost
        run = measurement_of(plan, runs)
        predicted, low, high = predictor.predict(cost.nats, plan.rank_map.metric).perplexities()
        row |= {
            "kept": cost.kept_fraction,
            "params": cost.params,
            "mb": cost.bytes_at(BYTES_PER_PARAM) / 1e6,
            "predicted_ratio": predicted,
            "predicted_low": low,
            "predicted_high": high,
            "predicted": math.nan if dense_perplexity is None else dense_perplexity * predicted,
            "measured_ratio": math.nan if run is None else run["perplexity"] / run["dense_perplexity"],
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


def projections(plan: Plan, analysis: Analysis) -> pd.DataFrame:
    """Return one row per projection, in model order, with what the plan decides about it.

    A shared block decides about all of its members: they show its rank, kept fraction and nats.
    """
    decided = {name: block for block in plan.rank_map.blocks for name in block.members}
    nats = analysis.nats[plan.rank_map.metric]
    rows = []
    for p in analysis.inventory.projections:
        block = decided.get(p.name, BlockRank((p.name,), Format.DENSE, None))
        members = [analysis.projections[name] for name in block.members]
        full = min(p.in_features, sum(m.out_features for m in members))
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
                "nats": 0.0 if block.rank is None else float(nats[block.name][block.rank]),
            }
        )
    return pd.DataFrame(rows)


def saved_maps(maps: Iterable[NamedMap], analysis: Analysis) -> pd.DataFrame:
    """Return one row per saved map."""
    compressible = analysis.inventory.compressible_params
    rows = [
        {
            "name": m.name,
            "kept": rank_map_params(m.rank_map, analysis.inventory) / compressible,
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


def results(runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per measured map, newest first, after the dense model's row for each text."""
    measured = [
        {
            "id": run["id"],
            "method": method_title(run["method"]),
            "kept": run["kept_fraction"],
            "perplexity": run["perplexity"],
            "ratio": run["perplexity"] / run["dense_perplexity"],
            "predicted_ratio": run["predicted_perplexity"] / run["dense_perplexity"],
            "expected_nats": math.log(run["predicted_perplexity"] / run["dense_perplexity"]),
            "expected_low": math.log(run["predicted_perplexity_low"] / run["dense_perplexity"]),
            "expected_high": math.log(run["predicted_perplexity_high"] / run["dense_perplexity"]),
            "calibrated_on": run["prediction_calibrated_on"],
            "measured_nats": run["nll"] - run["dense_nll"],
            "predicted_nats": run["predicted_nats"],
            "divergence": run["divergence"],
            "agreement": run["agreement"],
            "params": run["params"],
            "mb": (run["model_params"] * BYTES_PER_PARAM + run["index_bytes"]) / 1e6,
            "text": measured_on(run),
            "metric": run["metric"],
            "created": run["created"],
        }
        for run in runs
    ]
    dense: dict[str, dict[str, Any]] = {}
    for run in runs:
        saved = run["params"] * (1 / run["kept_fraction"] - 1)
        dense.setdefault(
            measured_on(run),
            {
                "id": "",
                "method": "dense",
                "kept": 1.0,
                "perplexity": run["dense_perplexity"],
                "ratio": 1.0,
                "params": round(run["params"] + saved),
                "mb": round(run["model_params"] + saved) * BYTES_PER_PARAM / 1e6,
                "agreement": 1.0,
                "divergence": 0.0,
                "text": measured_on(run),
            },
        )
    return pd.DataFrame([*dense.values(), *measured])


def measured_on(run: Mapping[str, Any]) -> str:
    """Return on what a measurement was made, for people; equal texts compare."""
    return f"{run['corpus']}, {run['n_tokens']:,} tokens, {run['dtype']}"


def comparison(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per method and budget of a stored comparison, in its order."""
    return pd.DataFrame(
        {
            "method": method_title(row["method"]),
            "target": row["target_kept_fraction"],
            "kept": row["kept_fraction"],
            "mb": row["model_mb_float16"],
            "ratio": row["perplexity"] / row["dense_perplexity"],
            "predicted_ratio": row["predicted_perplexity"] / row["dense_perplexity"],
            "predicted_low": row["predicted_perplexity_low"] / row["dense_perplexity"],
            "predicted_high": row["predicted_perplexity_high"] / row["dense_perplexity"],
            "other_ratio": row["other_perplexity"] / row["other_dense_perplexity"]
            if "other_perplexity" in row
            else None,
            "agreement": row["agreement"],
            "search_s": row["search_s"],
        }
        for row in rows
    )


def refined(runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per measured map with refined factors, newest first."""
    return pd.DataFrame(
        {
            "method": method_title(run["method"]),
            "refined": REFINEMENTS[run["refinement"]["kind"]],
            "kept": run["kept_fraction"],
            "mb": (run["model_params"] * BYTES_PER_PARAM + run["index_bytes"]) / 1e6,
            "perplexity": run["perplexity"],
            "ratio": run["perplexity"] / run["dense_perplexity"],
            "divergence": run["divergence"],
            "agreement": run["agreement"],
            "text": measured_on(run),
            "created": run["created"],
        }
        for run in runs
    )


def stages(fractions: Sequence[float], schedule: RankSchedule) -> pd.DataFrame:
    """Return one row per budget of a schedule, with the share that ran once it was reached.

    Args:
        fractions: active share of the compressible parameters of each token so far.
        schedule: what the model follows.
    """
    firsts = [next(n for n in range(schedule.length) if schedule.stage_at(n) == s) for s in range(schedule.stages)]
    return pd.DataFrame(
        {
            "first": first + 1,
            "budget": budget,
            "active": fractions[first] if first < len(fractions) else None,
        }
        for first, budget in zip(firsts, schedule.kept_fractions, strict=True)
    )
