"""Part of Sensitivity: which held-out passages pay for one projection, cut alone as in the current map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app.costed_maps import NoMap
from app.services import jobs, measurements
from app.views.shared.passage_list import TOKENS, show_passage_list
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from app.widgets.text_form import measuring_form
from app.wording.labels import block_label, cut_in_words, plain
from app.wording.passages import strongest_of
from engine.methods.editing import block_alone
from engine.operations import Passages

if TYPE_CHECKING:
    import pandas as pd

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.jobs import Job
    from engine.rank_map.document import RankMap

_OPEN: Final = "sensitivity.passages"
_PROJECTION: Final = "sensitivity.passages.projection"


def open_passages(projection: str) -> None:
    """Open the passages that pay for a projection when the page is drawn next."""
    st.session_state[_OPEN] = True
    st.session_state[_PROJECTION] = projection


def show_block_passages(analysis: Analysis, scores: pd.DataFrame, current: CostedMap | NoMap) -> None:
    """Ask for a projection; show the passages that pay for its cut in the current map, or offer to measure them.

    Args:
        analysis: of the model.
        scores: of every projection, in the order to show.
        current: the map of the rank board.
    """
    job = jobs.watched_job(Passages.name, analysis.id, None, st.query_params.get("job"))
    section = st.expander(
        "Which text pays for one projection",
        expanded=job is not None,
        key=_OPEN,
        on_change="rerun",
        icon=":material/text_ad:",
    )
    if not section.open:
        return
    with section:
        watch(Passages.name, analysis.id)
        if isinstance(current, NoMap):
            st.info(f"There is no current map whose cut could be measured. {plain(current.reason)}")
            return
        alone = _ask_what_to_cut(scores, current.rank_map, job)
        if alone is not None:
            _show_measured(analysis, alone)


def _ask_what_to_cut(scores: pd.DataFrame, rank_map: RankMap, job: Job | None) -> tuple[RankMap, str] | None:
    labels: dict[str, str] = dict(zip(scores["name"], scores["block"], strict=True))
    names = list(labels)
    if st.session_state.get(_PROJECTION) not in labels:
        st.session_state.pop(_PROJECTION, None)
    cut = {name for block in rank_map.blocks if block.rank is not None for name in block.members}
    usual = scores.loc[scores["name"].isin(cut)].sort_values("predicted")["name"].tail(1).tolist() or names[:1]
    asked = usual[0] if job is None else str(job.arguments["projection"])
    index = names.index(asked) if asked in labels else 0
    name = st.selectbox("Projection", names, index, format_func=labels.__getitem__, key=_PROJECTION, width=320)
    if name not in cut:
        st.info(f"The current map leaves {plain(labels[name])} dense, so no text pays for it.")
        return None
    return block_alone(rank_map, name), name


def _show_measured(analysis: Analysis, asked: tuple[RankMap, str]) -> None:
    alone, name = asked
    (block,) = alone.blocks
    whole = "" if len(block.members) == 1 else f"; together, because {cut_in_words(block)}"
    st.caption(f"Cuts only {block_label(block.members, analysis.projections)}, as the current map does{whole}.")
    found = measurements.block_passages(analysis.id, alone)
    if found is not None:
        measured, passages = found
        words = f"{measured.nll_increase:+.3g} nats per token over {measured.n_tokens:,} tokens"
        strongest = strongest_of(passages)
        st.caption(
            f"On {plain(measured.corpus)}: {words}. {TOKENS} The strongest colour stands for {strongest:.2g} nats."
        )
        show_passage_list(passages, key=_OPEN, strongest_nats=strongest)
    else:
        st.caption("Runs the model whole and so cut, and shows the passages of a text that it then predicts worse.")
    usual = Passages(analysis=analysis.id, rank_map=alone.to_json(), projection=name)
    with st.container() if found is None else st.popover("Measure again, on another text or amount"):
        operation = measuring_form(analysis, usual, key="passages")
        if operation is not None:
            show_estimate(operation)
        label = "Show the passages that pay for this projection"
        pressed = st.button(label, type="primary", disabled=operation is None, key="passages.start")
    if pressed and operation is not None:
        follow(jobs.submit(operation))
        st.rerun()
