"""Part of Playground: which compressed model answers beside the dense one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import streamlit as st

from app.components.rank_board.state import activate, active_method, board_state
from app.costed_maps import SAVED, NoMap
from app.services import measurements
from app.views.shared.board_maps import board_maps
from app.widgets.held_draft import held_across_reloads
from app.widgets.opened_map import opened_map
from app.widgets.pickers import budget_slider, kept_fraction_slider, option_picker
from app.widgets.text_choice import remembered_text
from app.wording.answers import titles_of
from engine.decoding.schedules import RankSchedule, ScheduleKind
from engine.errors import RankScopeError
from engine.methods.presets import PRESETS
from engine.playground import MapChoice, ProgressiveChoice
from engine.rank_map.identity import map_id
from engine.results.words import REFINEMENTS, method_title, percent
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis

_CONSTANT: Final = "constant"
_KINDS: Final = {
    ScheduleKind.STAGED.value: "4 steps",
    ScheduleKind.LINEAR.value: "Every token",
    _CONSTANT: "Constant",
}
_NAMED_BEFORE: Final = {
    "In 4 steps": ScheduleKind.STAGED.value,
    "At every token": ScheduleKind.LINEAR.value,
    "Constant, same mean": _CONSTANT,
}
"""In addresses that earlier versions wrote."""
_STAGES = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """A compressed model.

    Attributes:
        title: for people.
        of: most new tokens -> the choice, since schedules stretch over the answer.
        instead: what answers in the place of the dense model; ``None``: the dense model does.
    """

    title: str
    of: Callable[[int], MapChoice | ProgressiveChoice]
    instead: Choice | None = None

    @property
    def titles(self) -> tuple[str, str]:
        """What the two models that answer are called."""
        return titles_of(self.title, self.instead.title if self.instead else "")


def choose_compressed(analysis: Analysis) -> Choice:
    """Ask for a map, or for budgets that go down while the model writes.

    Raises:
        RankScopeError: the method has no map at this budget, or the schedule does not decline.
    """
    progressive = st.toggle(
        "Progressive decoding",
        key="progressive",
        bind="query-params",
        help="From FLRC: the first tokens use more of the model than the last ones. The low-rank format only.",
    )
    return _choose_schedule() if progressive else _choose_map(analysis)


def _choose_map(analysis: Analysis) -> Choice:
    budget_slider(analysis)
    held = held_across_reloads(analysis)
    opened = opened_map(analysis)
    method = _pick_method([*PRESETS] if opened is None else [*PRESETS, SAVED])
    text = remembered_text(measurements.result_rows(analysis.id))
    costed = next(p for p in board_maps(analysis, board_state(analysis, held), opened, text) if p.method == method)
    if isinstance(costed, NoMap):
        raise RankScopeError(costed.reason)
    refinement = _choose_factors(analysis, costed)
    title = f"{method_title(method)}, {percent(costed.cost.kept_fraction)} kept"
    if held:
        title += f", {len(held)} held"
    chosen = MapChoice(costed.rank_map.to_json(), refinement)
    return Choice(title, lambda _: chosen)


def _pick_method(names: Sequence[str]) -> str:
    """Ask for the method whose map is used; the same one as on the board."""
    active = active_method()
    st.session_state["method.picked"] = active if active in names else names[0]
    chosen = st.selectbox(
        "Method",
        names,
        format_func=method_title,
        key="method.picked",
        on_change=lambda: activate(st.session_state["method.picked"]),
        help="Its map compresses the model.",
    )
    activate(chosen)
    return chosen


def _choose_factors(analysis: Analysis, costed: CostedMap) -> str | None:
    """Ask for refined factors where there are some for this very map."""
    own = map_id(costed.rank_map)
    kinds = {
        row.refinement_id: f"Refined: {REFINEMENTS[row.refinement]}"
        for row in measurements.result_rows(analysis.id)
        if row.refinement is not None and row.map_id == own
    }
    if not kinds:
        return None
    chosen = option_picker("Factors", {"": "As decomposed", **kinds}, key="factors", in_url=True)
    return chosen or None


def _choose_schedule() -> Choice:
    first, last = st.columns(2)
    with first:
        start = kept_fraction_slider(
            "First tokens keep", key="start", default=0.9, help_text="Kept fraction of the prompt and the first tokens."
        )
    with last:
        end = kept_fraction_slider(
            "Last tokens keep", key="end", default=0.6, help_text="Kept fraction at the maximum number of tokens."
        )
    if (earlier := st.query_params.get("schedule", "")) in _NAMED_BEFORE:
        st.session_state["schedule"] = _NAMED_BEFORE[earlier]
    kind = option_picker(
        "Schedule",
        _KINDS,
        key="schedule",
        help_text="The kept fraction declines evenly up to the maximum number of tokens. Constant: every token has the "
        "mean of both ends, to compare with at the same work.",
        in_url=True,
    )
    methods = [
        name for name, preset in PRESETS.items() if Format.LOW_RANK in preset.formats and not preset.needs_search
    ]
    method = st.selectbox(
        "Ranks chosen by",
        methods,
        methods.index("flrc"),
        format_func=method_title,
        key="by",
        bind="query-params",
        help="Chooses the ranks at every kept fraction, in the low-rank format.",
    )

    mean = round((start + end) / 2, 4)

    def schedule(n_tokens: int) -> RankSchedule:
        if kind == _CONSTANT:
            return _constant(mean, n_tokens)
        if kind == ScheduleKind.LINEAR:
            return RankSchedule.linear(start, end, max(n_tokens, 2))
        n_stages = min(_STAGES, max(n_tokens, 2))
        return RankSchedule.staged(start, end, n_stages, -(-n_tokens // n_stages))

    schedule(_STAGES)
    instead = None
    if kind != _CONSTANT and st.toggle(
        "Compare with constant",
        key="beside",
        bind="query-params",
        help="The first answer is then that of the constant budget instead of the dense model's: the same work in all.",
    ):
        constant = f"{method_title(method)}, constant {percent(mean)}"
        instead = Choice(constant, lambda n_tokens: ProgressiveChoice(_constant(mean, n_tokens), method))
    budgets = f"constant {percent(mean)}" if kind == _CONSTANT else f"{percent(start, 0)} down to {percent(end, 0)}"
    title = f"{method_title(method)}, {budgets}"
    return Choice(title, lambda n_tokens: ProgressiveChoice(schedule(n_tokens), method), instead)


def _constant(kept: float, n_tokens: int) -> RankSchedule:
    return RankSchedule.staged(kept, kept, 1, n_tokens)
