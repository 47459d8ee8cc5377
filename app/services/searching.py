"""What searches have measured, how long one takes, and the one that is offered."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from app.services.home import store
from engine.operations import Search
from engine.pipeline.reading import trials as searched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.analysis.value import Analysis
    from engine.results.rows import ResultRow
    from engine.search.outcome import Trial


def comparable_trials(analysis_id: str) -> list[Trial]:
    """Return what was measured so far in the way that was used last, newest first, also while a search runs."""
    found = searched.trials(store(), analysis_id)
    return [t for t in found if (t.subset, t.divergence_weight) == (found[0].subset, found[0].divergence_weight)]


def expected_seconds(search: Search, trials: Sequence[Trial], rows: Sequence[ResultRow]) -> float | None:
    """Return about how long a search runs the model, or ``None`` where the model was never run.

    Args:
        search: that is asked for.
        trials: measured before; each new one takes as long as their median.
        rows: what was measured of the analysis; without trials the tokens it took tell the pace.
    """
    if trials:
        return search.trials * statistics.median(t.seconds["apply"] + t.seconds["evaluate"] for t in trials)
    paces = [
        result.provenance.seconds / result.n_tokens
        for row in rows
        for result in row.perplexities
        if result.provenance.seconds and result.provenance.dtype == search.dtype
    ]
    sequences = search.trials * min(search.n_subset, search.n_sequences) + search.n_allocations * search.n_sequences
    return statistics.median(paces) * sequences * search.length if paces else None


def search_on_text_of(analysis: Analysis) -> Search:
    """Return a search on the text of an analysis."""
    corpus = analysis.about["spec"]["corpus"]
    match corpus["source"]:
        case "demo":
            text = f"demo:{corpus['location']}" if corpus["location"] != "wikipedia" else "demo"
        case "hub":
            config = f":{corpus['config']}" if corpus["config"] else ""
            text = f"{corpus['location']}{config}@{corpus['part']}"
        case _:
            text = corpus["location"]
    usual = Search(analysis=analysis.id)
    return usual.changed(
        text=text,
        text_field=corpus["text_field"],
        n_sequences=min(usual.n_sequences, corpus["n_sequences"]),
        length=min(usual.length, corpus["length"]),
    )
