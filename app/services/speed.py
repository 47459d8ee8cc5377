"""Maps for a predicted time on a device; cached by analysis, time and held ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.costed_maps import CostedMap, NoMap
from app.services.allocation import board_rank_step, method_rule, of_every_method, trials_of
from app.services.analyses import analysis, curves
from engine.allocation import Frontier
from engine.devices.known import devices, get_device
from engine.methods import cost
from engine.methods.allocate import Request
from engine.methods.editing import HeldRanks, held_blocks
from engine.methods.presets import AllocationSettings, get_preset
from engine.methods.time_budget import Situation, TimeRule, time_rule
from engine.settings import home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.devices.value import Device
    from engine.rank_map.drafts import AskedTime


def known_devices(dtype: str) -> Mapping[str, Device]:
    """Return this machine, if it was measured, and the presets, as they compute with a number type."""
    return devices(home(), dtype)


def fast_maps(analysis_id: str, time: AskedTime, held: HeldRanks) -> list[CostedMap | NoMap]:
    """Return every method's best map with which a token is predicted to take at most a time."""

    def make(method: str) -> CostedMap:
        situation = Situation(
            time.device, get_device(home(), time.device, time.dtype), time.dtype, time.batch, time.context
        )
        return _costed_map(analysis_id, method, time.ms / 1e3, situation, held, trials_of(method))

    return of_every_method(make)


@st.cache_data(max_entries=128, show_spinner=False)
def _costed_map(
    analysis_id: str, method: str, step_s: float, situation: Situation, held: HeldRanks, trials: str
) -> CostedMap:
    rank_map = _rule(analysis_id, method, situation, held, trials).allocate(step_s)
    return CostedMap(method, rank_map, cost.cost_of(analysis(analysis_id), rank_map))


@st.cache_resource(max_entries=24, show_spinner="Weighing time against ranks")
def _rule(analysis_id: str, method: str, situation: Situation, held: HeldRanks, trials: str) -> TimeRule:  # noqa: ARG001 - trials are part of the cache's key
    analysed, preset, rule = analysis(analysis_id), get_preset(method), method_rule(analysis_id, method, held)
    if not isinstance(rule, Frontier):
        return TimeRule(analysed, method, situation, rule)
    settings = AllocationSettings(rank_step=board_rank_step(analysis_id)).limited_to(preset)
    request = Request(held_blocks(held, preset.formats, analysed), settings=settings)
    return time_rule(analysed, method, curves(analysis_id), request, situation)
