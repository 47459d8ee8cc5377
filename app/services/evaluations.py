"""How maps are measured unless something else is chosen."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from app.services import measurements
from engine.errors import RankScopeError
from engine.operations import Evaluate
from engine.prediction.runs import calibration_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap
    from engine.results.texts import MeasuredText

_DEMO_TEXTS: Final = ("demo", "demo:news")


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


def evaluation_on(analysis: Analysis, rank_map: RankMap, text: MeasuredText | None) -> Evaluate | None:
    """Return an evaluation of a map that compares with what was measured on a text.

    Args:
        analysis: whose map.
        rank_map: to measure.
        text: ``None``: the usual one.

    Returns:
        ``None`` where the text is none that is known by its place.
    """
    usual = usual_evaluation(analysis, [rank_map])
    result = None if text is None else text.of(text.rows[0])
    if result is None:
        return usual
    for operation in (usual, *(usual.changed(text=name, text_field="text") for name in _DEMO_TEXTS)):
        with suppress(RankScopeError):  # its file may be gone
            if operation.corpora()[0].label == result.text:
                length = result.n_tokens // result.n_sequences + 1
                return operation.changed(n_sequences=result.n_sequences, length=length, dtype=result.provenance.dtype)
    return None
