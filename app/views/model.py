"""Model: choose a model and a text, analyse, and see what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import services, tables
from app.labels import count, duration, megabytes, percent, plain
from app.widgets import analysis_form, current_analysis, errors_shown, follow, forget_choice, page_link, watch
from engine.jobs import JobStatus

if TYPE_CHECKING:
    from engine.analysis import Analysis
    from engine.types import Inventory


def render() -> None:
    st.title("Model")
    st.caption(
        "Open a language model, let it read some text, and find out which of its weights have rank to spare."
    )
    with errors_shown():
        job = watch("analyse")
        if job is not None and job.status is JobStatus.DONE:
            page_link("spectra", "See its spectra")
            page_link("allocation", "Choose its ranks")
        analysis = current_analysis(explain=False)
        if analysis is not None:
            _show_analysis(analysis)
        elif job is None:
            _welcome()
        with st.expander("Analyse another model or text" if analysis else "Analyse your own model"):
            arguments = analysis_form()
            if (
                st.button("Analyse", type="primary", disabled=arguments is None, key="model.analyse")
                and arguments
            ):
                _submit(arguments)


def _submit(arguments: dict[str, object]) -> None:
    follow(services.submit_analysis(arguments))
    forget_choice()
    st.rerun()


def _welcome() -> None:
    st.info(
        "Nothing has been analysed yet. Start with the demo, a small real model (SmolLM2, 135 M parameters): it is "
        f"downloaded once (up to {megabytes(services.demo_disk_bytes())} of disk) and analysed in some minutes.",
        icon=":material/rocket_launch:",
    )
    if st.button("Analyse the demo model", type="primary", key="model.demo"):
        _submit({})


def _show_analysis(analysis: Analysis) -> None:
    inventory = analysis.inventory
    st.subheader(plain(analysis.about["model"]))
    share = inventory.compressible_params / inventory.total_params
    tiles = st.columns(4)
    tiles[0].metric("Parameters", count(inventory.total_params), border=True)
    tiles[1].metric(
        "Compressible",
        percent(share),
        border=True,
        help="Share of all parameters in the projections "
        "below; kept fractions elsewhere are fractions of these.",
    )
    tiles[2].metric(
        "Projections",
        f"{len(inventory.projections)}",
        border=True,
        help=f"Weight matrices in {inventory.n_layers} layers and {len(inventory.groups)} input groups.",
    )
    tiles[3].metric(
        "Calibration loss",
        f"{analysis.calibration_nll:.3f} nats",
        border=True,
        help="The dense model's mean negative log-likelihood per token of the calibration text.",
    )
    _show_inventory(inventory)
    with st.expander("How it was analysed"):
        st.json(_provenance(analysis), expanded=2)
    page_link("spectra", "See its spectra")


def _show_inventory(inventory: Inventory) -> None:
    numbers = {
        "share of the model": st.column_config.NumberColumn(format="percent"),
        "parameters": st.column_config.NumberColumn(format="localized"),
    }
    st.markdown(f"**What can be compressed** ({plain(inventory.architecture)}, {inventory.n_layers} layers)")
    st.dataframe(tables.shapes(inventory), hide_index=True, column_config=numbers)
    st.markdown("**What stays as it is**")
    st.dataframe(tables.skipped(inventory), hide_index=True, column_config=numbers)


def _provenance(analysis: Analysis) -> dict[str, object]:
    about = analysis.about
    return {
        "text": about["corpus"],
        "settings": about["spec"],
        "time": {stage: duration(seconds) for stage, seconds in about["seconds"].items()},
        "peak memory": megabytes(about["peak_memory_bytes"]),
        "versions": about["versions"],
        "created": about["created"],
        "analysis id": analysis.id,
    }
