"""Tables of a report: perplexity, cost, ranks, refined factors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.measures import Role
from engine.rank_map_difference import decisions
from engine.report._headline import longest_first, name_of, written
from engine.words import REFINEMENTS, TIMES, percent, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.measures import Measure
    from engine.report._content import ReportContent
    from engine.results import ResultRow


class PerplexityRow(NamedTuple):
    """One text."""

    text: str
    amount: str
    dense: str
    compressed: str
    ratio: str
    predicted: str
    held: str
    agreement: str


class CostRow(NamedTuple):
    """One cost of both models."""

    title: str
    about: str
    dense: str
    compressed: str
    change: str


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


def perplexity_rows(row: ResultRow) -> list[PerplexityRow]:
    """Return a line per text that was measured."""
    found = []
    for one in longest_first(row):
        predicted = held = ""
        if one.prediction is not None:
            p, dense = one.prediction, one.dense_perplexity
            predicted = f"{ratio(p.perplexity / dense)} ({ratio(p.low / dense)} to {ratio(p.high / dense)})"
            held = "yes" if p.low <= one.perplexity <= p.high else "no"
        amount = f"{one.n_tokens:,} tokens, {one.provenance.dtype}"
        numbers = (f"{one.dense_perplexity:.2f}", f"{one.perplexity:.2f}", ratio(one.ratio))
        found.append(PerplexityRow(one.text, amount, *numbers, predicted, held, percent(one.agreement)))
    return found


def cost_rows(every: Sequence[Measure], row: ResultRow, dense: ResultRow) -> list[CostRow]:
    """Return a line per cost this map has: counted ones, then measured ones."""
    names = ("decode_", "prefill_", "cache_", "peak_memory", "memory_without")
    shown = [m for m in every if m.role is Role.COST or m.name.startswith(names)]
    found = []
    for measure in shown:
        own, of_dense = measure.of(row), measure.of(dense)
        if own is None:
            continue
        change = "" if of_dense is None or not of_dense.value else f"{own.value / of_dense.value:.2f} {TIMES}"
        beside = "" if of_dense is None else written(measure, of_dense.value)
        number = written(measure, own.value)
        if own.low is not None and own.high is not None:
            number += f" ({written(measure, own.low)} to {written(measure, own.high)})"
        found.append(CostRow(name_of(measure), measure.about, beside, number, change))
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
        RefinedRow(REFINEMENTS[row.refinement or ""], one.text, f"{one.perplexity:.2f}", ratio(one.ratio))
        for row in rows
        for one in row.perplexities
    ]
