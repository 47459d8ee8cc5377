"""Part of Model: what an analysis would work on, before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import plans
from app.wording.labels import plain
from engine.pipeline.plan import described
from engine.results.words import count, counted, megabytes

if TYPE_CHECKING:
    from engine.operations import Analyse


def show_plan(operation: Analyse) -> bool:
    """Show what the files say of model and text; return whether the analysis can begin, and say why not."""
    obstacle = plans.obstacle(operation)
    if obstacle is not None:
        st.error(plain(obstacle), icon=":material/block:")
        return False
    _show_model(operation)
    _show_text(operation)
    return True


def _show_model(operation: Analyse) -> None:
    header = plans.model_header(operation.spec().model)
    if header is None:
        return
    plan = operation.plan()
    room = "" if plan is None else f" Plan: {described(plan)}."
    st.caption(
        f":material/deployed_code: **{plain(header.architecture)}**, {counted(header.n_layers, 'layer')}, "
        f"{count(header.n_params)} parameters, {count(header.n_matrix_params)} of them in matrices of the layers; "
        f"{megabytes(header.weight_bytes)} of weights.{room}"
    )


def _show_text(operation: Analyse) -> None:
    plan = plans.text_plan(operation)
    if plan is None:
        return
    about = "" if plan.is_counted else "about "
    more = "" if plan.preview.is_whole else " in its first megabytes"
    st.caption(
        f":material/description: {about}{plan.n_tokens:,} tokens{more}. It begins: "
        f"*{plain(plan.preview.beginning[:120].strip())}\u2026*"
    )
