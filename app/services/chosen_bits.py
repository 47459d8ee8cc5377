"""Maps whose bits are chosen block by block, for a size in bytes; cached by analysis, size and held ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app.costed_maps import CostedMap, NoMap
from app.services import measurements
from app.services.allocation import board_rank_step
from app.services.analyses import analysis, curves
from engine.errors import RankScopeError
from engine.methods import cost
from engine.methods.allocate import Request
from engine.methods.byte_budget import CHOOSE, METHOD, ByteRule, byte_rule
from engine.methods.editing import HeldRanks, held_blocks
from engine.methods.presets import AllocationSettings, get_preset
from engine.prediction.cutting import cut_weight_of
from engine.prediction.runs import predictor_on
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.analysis.value import Analysis
    from engine.rank_map.drafts import MapRequest
    from engine.results.texts import MeasuredText

UNPREDICTED: Final = "What rounding does to this model is not predicted yet; start that under the board, once."
_NO_TARGET: Final = "Bits are chosen for a size; clear the perplexity, or choose one number type for all blocks."


def with_chosen_bits(
    maps: Sequence[CostedMap | NoMap], analysed: Analysis, request: MapRequest, text: MeasuredText | None
) -> list[CostedMap | NoMap]:
    """Return maps with the one whose bits can be chosen in the place of its method's.

    Args:
        maps: of every method.
        analysed: the analysis.
        request: whose kept fraction is one of the bytes that the projections take at 16 bits.
        text: that predictions are calibrated on.
    """
    return [_chosen(analysed, request, text) if one.method == METHOD else one for one in maps]


def _chosen(analysed: Analysis, request: MapRequest, text: MeasuredText | None) -> CostedMap | NoMap:
    if request.target is not None:
        return NoMap(METHOD, _NO_TARGET)
    if analysed.rounding is None:
        return NoMap(METHOD, UNPREDICTED)
    weight = cut_weight_of(predictor_on(text), analysed, measurements.result_rows(analysed.id))
    inventory = analysed.inventory
    others = inventory.total_params - inventory.compressible_params
    n_bytes = 2 * others + int(2 * request.keep * inventory.compressible_params)
    try:
        return _costed_map(analysed.id, n_bytes, request.held, weight)
    except RankScopeError as error:
        return NoMap(METHOD, str(error))


@st.cache_data(max_entries=128, show_spinner=False)
def _costed_map(analysis_id: str, n_bytes: int, held: HeldRanks, weight: float) -> CostedMap:
    rank_map = _rule(analysis_id, held, weight).allocate(n_bytes)
    return CostedMap(METHOD, rank_map, cost.cost_of(analysis(analysis_id), rank_map))


@st.cache_resource(max_entries=4, show_spinner="Weighing bits against ranks")
def _rule(analysis_id: str, held: HeldRanks, weight: float) -> ByteRule:
    analysed, preset = analysis(analysis_id), get_preset(METHOD)
    settings = AllocationSettings(rank_step=board_rank_step(analysis_id)).limited_to(preset)
    request = Request(held_blocks(held, preset.formats, analysed), settings=settings)
    return byte_rule(analysed, curves(analysis_id)[Metric.LOSS], request, CHOOSE, weight)
