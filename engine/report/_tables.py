"""Tables of a report: perplexity, cost, ranks, refined factors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from engine.rank_map.difference import decisions
from engine.report._headline import by_use, name_of, written
from engine.results.columns import measures
from engine.results.words import REFINEMENTS, TIMES, percent, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.report._content import ReportContent
    from engine.results.rows import ResultRow


_COSTS = (
    *("model_mb", "params", "decode_tokens_per_s[", "prefill_tokens_per_s[", "decode_multiply_adds"),
    *("prefill_multiply_adds", "cache_bytes_per_token", "peak_memory_mb", "memory_without_model_mb"),
)


class PerplexityRow(NamedTuple):
    """One text."""

    text: str
    amount: str
    dense: str
    compressed: str
    ratio: str
    predicted: str
    between: str
    held: str
    agreement: str


class CostRow(NamedTuple):
    """One cost of both models."""

    title: str
    about: str
    dense: str
    compressed: str
    change: str
    between: str


class RankRow(NamedTuple):
    """What was decided of one projection."""

    layer: int
    kind: str
    name: str
    rank: str
    kept: str


class RefinedRow(NamedTuple):
    """One text, with refined factors."""

    factors: str
    text: str
    compressed: str
    ratio: str


def perplexity_rows(content: ReportContent) -> list[PerplexityRow]:
    """Return a line per text that was measured."""
    found = []
    for one in by_use(content):
        predicted = between = held = ""
        if one.prediction is not None:
            p, dense = one.prediction, one.dense_perplexity
            predicted, between = ratio(p.perplexity / dense), f"{ratio(p.low / dense)} to {ratio(p.high / dense)}"
            held = "yes" if p.low <= one.perplexity <= p.high else "no"
        amount = f"{one.n_tokens:,} tokens, {one.provenance.dtype}"
        numbers = (f"{one.dense_perplexity:.2f}", f"{one.perplexity:.2f}", ratio(one.ratio))
        found.append(PerplexityRow(one.text_title, amount, *numbers, predicted, between, held, percent(one.agreement)))
    return found


def cost_rows(row: ResultRow, dense: ResultRow) -> list[CostRow]:
    """Return a line per cost this map has: counted ones, then those measured last.

    Speeds are over the dense model's of the same repetitions, with quartiles; the dense model's speed of another time
    would not belong beside them. All else is divided as it is.
    """
    newest = replace(row, costs=row.costs[:1], memories=row.memories[:1])
    named = {measure.name: measure for measure in measures([newest])}
    found = []
    for name, measure in named.items():
        own, of_dense = measure.of(newest), measure.of(dense)
        if own is None or not name.startswith(_COSTS):
            continue
        beside = change = between = ""
        if "_tokens_per_s[" in name:
            over = named[name.replace("_tokens_per_s[", "_ratio[")].of(newest)
            if over is not None and over.low is not None and over.high is not None:
                change, between = f"{over.value:.2f} {TIMES}", f"{over.low:.2f} to {over.high:.2f}"
        elif of_dense is not None and of_dense.value:
            beside = written(measure, of_dense.value)
            change = f"{own.value / of_dense.value:.2f} {TIMES}"
        found.append(CostRow(name_of(measure), measure.about, beside, written(measure, own.value), change, between))
    return found


def rank_rows(content: ReportContent) -> list[RankRow]:
    """Return a line per projection, in model order."""
    decided = decisions(content.rank_map, content.analysis.inventory)
    found = []
    for p in content.analysis.inventory.projections:
        decision = decided[p.name]
        rank = "dense" if decision.rank is None else f"{decision.rank} ({decision.format})"
        found.append(RankRow(p.layer, p.kind, p.name, rank, percent(decision.params / p.params, 0)))
    return found


def refined_rows(rows: Sequence[ResultRow]) -> list[RefinedRow]:
    """Return a line per refinement and text."""
    return [
        RefinedRow(REFINEMENTS[row.refinement or ""], one.text_title, f"{one.perplexity:.2f}", ratio(one.ratio))
        for row in rows
        for one in row.perplexities
    ]
