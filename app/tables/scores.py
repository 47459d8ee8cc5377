"""Spectra and scores of every projection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from app.wording.labels import block_label, projection_label
from engine.analysis.curves import rank_alone
from engine.formats import BYTES_PER_PARAM, max_useful_rank
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.analysis.curves import SpectrumSummary
    from engine.analysis.value import Analysis

SUMMARIES = {
    "effective_rank": "Effective rank",
    "rank_at_energy": "Rank at energy",
    "stable_rank": "Stable rank",
}
"""Columns of :func:`spectra` that a heatmap can show."""


SCORES = {
    "importance": "FLRC importance",
    "predicted": "Predicted nats",
    "measured": "Measured nats",
}
"""Columns of :func:`sensitivity` that a heatmap can show."""


def spectra(
    analysis: Analysis, summaries: Mapping[str, SpectrumSummary], at_energy: Mapping[str, int], cuts: Mapping[str, int]
) -> pd.DataFrame:
    """Return one row per block, joined blocks included, with its spectrum's summary and the ranks marked on it.

    Args:
        analysis: of the model.
        summaries: by block name.
        at_energy: the rank that holds the chosen share of the energy, by block name.
        cuts: rank of every block that the current map cuts, by block name.
    """
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
                    "rank_at_energy": at_energy[name],
                    "stable_rank": s.stable_rank,
                    "cut": cuts.get(name, math.nan),
                    "break_even": plain,
                    "break_even_skip": skip,
                }
            )
    return pd.DataFrame(rows)


def sensitivity(
    analysis: Analysis, kept: float, predicted: Mapping[str, float], measured: Mapping[str, float] | None
) -> pd.DataFrame:
    """Return the scores of every projection.

    Args:
        analysis: of the model.
        kept: to which fraction of its parameters each is cut alone.
        predicted: nats per token that this costs, by projection.
        measured: the same, measured; ``None``: it was not.
    """
    rows = []
    for p in analysis.inventory.projections:
        factors = p.matrices * rank_alone(p, kept) * (p.in_features + p.out_features)
        freed_mb = (p.params - factors) * BYTES_PER_PARAM["float16"] / 1e6
        rows.append(
            {
                "name": p.name,
                "block": projection_label(p),
                "layer": p.layer,
                "kind": p.kind,
                "importance": float(analysis.importances[p.name][0]),
                "predicted": predicted[p.name],
                "measured": math.nan if measured is None else measured.get(p.name, math.nan),
                "freed_mb": freed_mb,
                "nats_per_mb": predicted[p.name] / freed_mb if freed_mb > 0 else math.nan,
            }
        )
    return pd.DataFrame(rows)


def cheapest_first(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores with the layers first, and in each the kinds, that cost the fewest nats per MB freed."""
    places = {}
    for by in ("layer", "kind"):
        sums = scores.groupby(by, sort=False)[["predicted", "freed_mb"]].sum()
        places[by] = (sums["predicted"] / sums["freed_mb"]).rank(method="first")
    return scores.sort_values(["layer", "kind"], key=lambda column: column.map(places[str(column.name)]))


def importance_shares(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores with importances as shares of their total: they have no unit of their own."""
    total = scores["importance"].sum()
    return scores.assign(importance=scores["importance"] / (total if total > 0 else 1.0))


def score_shares(scores: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return what share of each score's total lies in every layer or kind; a score that is missing is left out.

    Layers and kinds come in the order of the scores.

    Args:
        scores: as :func:`sensitivity` returns them; what is below zero counts as nothing.
        by: ``layer`` or ``kind``.
    """
    available = [column for column in SCORES if scores[column].notna().any()]
    sums = scores[available].clip(lower=0).groupby(scores[by], sort=False).sum()
    return (sums / sums.sum().where(lambda total: total > 0, 1)).rename(columns=SCORES)


def rank_agreement(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the Spearman correlation of every two scores that are available."""
    available = [column for column in SCORES if scores[column].notna().any()]
    return scores[available].corr(method="spearman").rename(index=SCORES, columns=SCORES)


def agreement_sentence(agreement: pd.DataFrame) -> str:
    """Say what :func:`rank_agreement` means, pair by pair."""
    names = list(agreement.columns)
    pairs = []
    for row, one in enumerate(names):
        for column, other in enumerate(names[row + 1 :], row + 1):
            number = float(agreement.iloc[:, column].iloc[row])
            pairs.append(f"{one} and {other.lower()} {_agreement_in_words(number)} ({number:.2f})")
    return "; ".join(pairs) + "." if pairs else "Only one score is available."


def agreement_with(scores: pd.DataFrame, others: pd.DataFrame) -> str:
    """Say how far each score agrees with the same of another analysis or weighting, where both have it."""
    beside = others.set_index("name").reindex(scores["name"])
    said = []
    for column, title in SCORES.items():
        number = scores[column].corr(beside[column].set_axis(scores.index), method="spearman")
        if not math.isnan(number):
            said.append(f"{title}: both {_agreement_in_words(number)} ({number:.2f}).")
    return " ".join(said)


def _agreement_in_words(correlation: float) -> str:
    if correlation >= 0.9:
        return "put the projections in nearly the same order"
    if correlation >= 0.6:
        return "mostly agree on which projections matter"
    if correlation >= 0.25:
        return "agree only roughly on which projections matter"
    if correlation > -0.25:
        return "are nearly unrelated"
    return "put the projections in opposite orders"
