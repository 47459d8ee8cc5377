"""Which measured maps are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from app.tables.runs import run_label
from app.widgets.columns import PERCENT
from engine.results.palette import shown_place
from engine.results.rows import DENSE
from engine.results.words import method_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.rank_map.notes import RunNote
    from engine.results.columns import Measure
    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText

_CHOSEN = "runs.chosen"
_URL = "run"
_FROM_URL = "runs.from-url"
"""The runs that the address named last, so that it counts once and not against what is chosen afterwards."""

_ID_LENGTH = 12
"""Of a run's id in the address."""

_EVERY = "every text"
MOST_CHOSEN = 4


class RunFilter(NamedTuple):
    """Rows that are shown, and of which text; ``None``: all texts in short."""

    rows: list[ResultRow]
    text: str | None


def run_filter(rows: Sequence[ResultRow], texts: Sequence[MeasuredText]) -> RunFilter:
    """Ask for methods, a text and a range of kept fractions; the dense model always stays, at all bits."""
    methods = sorted({row.method for row in rows} - {DENSE}, key=shown_place)
    left, middle, right = st.columns(3)
    chosen = left.multiselect(
        "Methods",
        methods,
        format_func=method_title,
        placeholder="All methods",
        key="runs.methods",
        persist_state="session",
    )
    text = middle.selectbox(
        "Text",
        [_EVERY, *(text.title for text in texts)],
        key="runs.text",
        help="Perplexities on different texts are not comparable. One text is shown in more detail.",
        persist_state="session",
    )
    low, high = right.slider(
        "Kept fraction", 0, 100, (0, 100), 5, format=PERCENT, key="runs.kept", persist_state="session"
    )
    measured = {one.title: one for one in texts}
    fitting = [
        row
        for row in rows
        if row.method == DENSE
        or (
            (not chosen or row.method in chosen)
            and low <= 100 * row.size.kept_fraction <= high
            and (text not in measured or measured[text].of(row) is not None)
        )
    ]
    return RunFilter(fitting, text if text in measured else None)


def choose_runs(ids: Sequence[str]) -> None:
    """Look at runs in the run that follows; as many as can be looked at."""
    st.session_state[_CHOSEN] = list(ids)[:MOST_CHOSEN]


def chosen_runs(rows: Sequence[ResultRow], notes: Mapping[str, RunNote]) -> list[ResultRow]:
    """Ask for some of the measured maps; the one that was measured in most ways at first. Kept in the address."""
    known = {row.id: row for row in rows if not row.is_dense}
    asked = st.query_params.get_all(_URL)
    wanted = [row_id for row_id in known if row_id.startswith(tuple(asked))]
    if wanted and asked != st.session_state.get(_FROM_URL):
        choose_runs(wanted)
    still_known = [row_id for row_id in st.session_state.get(_CHOSEN, []) if row_id in known]
    if _CHOSEN not in st.session_state or len(still_known) < len(st.session_state[_CHOSEN]):
        st.session_state[_CHOSEN] = still_known or [max(known.values(), key=_n_measurements).id]
    picked = st.multiselect(
        "Runs in detail",
        list(known),
        format_func=lambda row_id: run_label(known[row_id], notes),
        max_selections=MOST_CHOSEN,
        placeholder="Choose up to four",
        key=_CHOSEN,
        persist_state="session",
    )
    st.session_state[_FROM_URL] = st.query_params[_URL] = [row_id[:_ID_LENGTH] for row_id in picked]
    return [known[row_id] for row_id in picked]


def _n_measurements(row: ResultRow) -> int:
    return sum(map(len, (row.perplexities, row.tasks, row.summaries, row.costs, row.memories)))


def chosen_columns(every: Sequence[Measure], usual: Sequence[Measure]) -> list[Measure]:
    """Ask which columns the table has; the choice stays for the session."""
    by_name = {measure.name: measure for measure in every}
    with st.popover("Columns", icon=":material/view_column:"):
        picked = st.multiselect(
            "Columns",
            list(by_name),
            format_func=lambda name: by_name[name].title,
            placeholder="The usual ones",
            help="Without a choice: size, perplexity, and the main number of everything else that was measured.",
            key="runs.columns",
            persist_state="session",
        )
    return [measure for measure in every if measure.name in picked] or list(usual)
