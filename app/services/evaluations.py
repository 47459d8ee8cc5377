"""How maps are measured unless something else is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.services import measurements
from engine.operations import Evaluate
from engine.prediction.runs import calibration_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap


def own_text(analysis: Analysis) -> str | None:
    """Return the text of the analysis as operations name it; ``None`` where it is a demo text."""
    corpus: Mapping[str, Any] = analysis.about["spec"]["corpus"]
    if corpus["source"] == "demo":
        return None
    config = f":{corpus['config']}" if corpus["config"] else ""
    return str(corpus["location"] if corpus["source"] == "file" else f"{corpus['location']}{config}")


def usual_evaluation(analysis: Analysis, rank_maps: Sequence[RankMap]) -> Evaluate:
    """Return an evaluation on the analysis's own text, of as much of it as most maps were measured on."""
    operation = Evaluate(analysis=analysis.id, rank_maps=tuple(rank_map.to_json() for rank_map in rank_maps))
    corpus: Mapping[str, Any] = analysis.about["spec"]["corpus"]
    text = own_text(analysis)
    if text is not None:
        operation = operation.changed(
            text=text,
            text_field=corpus["text_field"],
            n_sequences=min(operation.n_sequences, corpus["n_sequences"]),
            length=min(operation.length, corpus["length"]),
        )
    for measured in calibration_texts(measurements.result_rows(analysis.id)):
        result = measured.of(measured.rows[0])
        if result is not None and result.provenance.dtype == operation.dtype:
            return operation.changed(n_sequences=result.n_sequences, length=result.n_tokens // result.n_sequences + 1)
    return operation
