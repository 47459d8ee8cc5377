"""Part of Overview: what one rank map makes of the model, as a sentence and as tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.wording.headline import headline
from app.wording.labels import plain
from engine.formats import BYTES_PER_PARAM
from engine.pipeline.reading.results import measured_on
from engine.results.words import calibrated, count, megabytes, percent, ratio

if TYPE_CHECKING:
    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.prediction.power_law import Predictor
    from engine.results.texts import MeasuredText


_WIDTH = 235
"""Five tiles fit beside each other on 1,440 pixels, three on 900."""


def show_outcome(analysis: Analysis, costed: CostedMap, text: MeasuredText | None, predictor: Predictor) -> bool:
    """Show size, arithmetic, predicted and measured quality; return whether exactly this map was measured."""
    predicted = predictor.predict(costed.cost.nats, costed.rank_map.metric).perplexities()
    result = None if text is None else measured_on(text, costed.rank_map)
    measured = None if result is None else result.ratio
    name = str(analysis.about["corpus"]) if text is None else text.name
    st.markdown(f"#### {headline(costed, analysis.inventory, predicted, measured, plain(name))}")
    with st.container(horizontal=True):
        _show_sizes(costed, analysis)
        estimate, low, high = predicted
        _tile(
            "Perplexity, predicted",
            ratio(estimate),
            f"{ratio(low)} to {ratio(high)}",
            "Relative to the original model, without running the compressed one: 1 = no loss of quality. Below: the "
            f"90 % interval, {calibrated(predictor.n_runs)}.",
        )
        _tile(
            "Perplexity, measured",
            "not yet" if measured is None else ratio(measured),
            "relative to the original",
            "Of exactly this choice of ranks, compressed and run on the evaluation text.",
        )
    return measured is not None


def _show_sizes(costed: CostedMap, analysis: Analysis) -> None:
    cost, inventory = costed.cost, analysis.inventory
    dense_bytes = inventory.total_params * BYTES_PER_PARAM["float16"]
    _tile(
        "Size",
        megabytes(cost.bytes_at(BYTES_PER_PARAM["float16"])),
        f"of {megabytes(dense_bytes)}",
        "Weights of the whole model, two bytes each (float16).",
    )
    _tile(
        "Arithmetic per token",
        count(cost.model_params),
        f"of {count(inventory.total_params)}",
        "Multiply-adds: one per parameter; attention over past tokens comes on top.",
    )
    _tile(
        "Kept",
        percent(cost.kept_fraction),
        f"of {count(inventory.compressible_params)} weights",
        "Parameters kept, of those that can be compressed: embeddings, head and norms always stay.",
    )


def _tile(label: str, value: str, note: str, help_text: str) -> None:
    st.metric(label, value, note, delta_color="off", delta_arrow="off", border=True, help=help_text, width=_WIDTH)
