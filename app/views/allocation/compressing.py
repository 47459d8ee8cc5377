"""Part of Allocation: the best model of a size, in one job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app.services import jobs
from app.services.evaluations import usual_evaluation
from app.services.home import export_folder
from app.widgets.errors import errors_shown
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from app.wording.labels import plain, slug
from engine.export.outcome import Compressed
from engine.operations import Compress
from engine.operations.compress import TWO_STEPS_BELOW
from engine.results.words import megabytes, percent, ratio

if TYPE_CHECKING:
    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis


def compress_to_size(analysis: Analysis, costed: CostedMap, keep: float) -> None:
    """Offer the whole way to a size, unless that is all or one of bits; follow it, and say what it came to.

    Args:
        analysis: of the model.
        costed: the active map, whose text and amount are measured.
        keep: kept fraction on the board.
    """
    made = jobs.result_of(watch("compress", analysis.id), Compressed)
    if made is not None:
        _show(made)
    if keep >= 1 or costed.rank_map.is_rounded:  # chosen bits keep a share of bytes
        return
    with st.expander("Get the best model of this size", icon=":material/auto_awesome:"):
        st.caption(
            "One job that goes the whole way with Water-filling. Below "
            f"{percent(TWO_STEPS_BELOW, 0)} kept it narrows the MLPs first and analyses the narrowed model, which "
            "takes about as long as the first analysis. Then it chooses ranks, corrects factors where that helps, "
            "trains them if you give it time, measures the model beside the original and exports it."
        )
        suggested = slug(f"{analysis.about['model']}-{keep:.2f}", ".")[:80]
        name = st.text_input("Folder name", suggested, max_chars=80, key=f"compress.name.{suggested}")
        minutes = st.number_input(
            "Minutes of training at most",
            min_value=0,
            max_value=24 * 60,
            value=0,
            step=10,
            key="compress.minutes",
            help="Trains the factors to predict what the original predicts, on the text of the analysis and what "
            "follows it there. 0: nothing is trained.",
        )
        usual = usual_evaluation(analysis, [costed.rank_map])
        measured_on = usual.model_dump(include={"text", "text_field", "n_sequences", "length"})
        with errors_shown():
            folder = str(export_folder(name.strip()))
            operation = Compress(analysis=analysis.id, folder=folder, keep=keep, train_minutes=minutes, **measured_on)
            show_estimate(operation)
            if st.button(f"Compress to {percent(keep)} and export", icon=":material/play_arrow:", key="compress.start"):
                follow(jobs.submit(operation))
                st.rerun()


def _show(made: Compressed) -> None:
    found = made.perplexities[0]
    dense, narrowed = found.dense_perplexity, found.narrowed_perplexity
    after_widths = "" if narrowed is None else f"{ratio(narrowed / dense)} after widths, "
    trained = {True: ", trained", False: ", training found nothing better", None: ""}[made.trained]
    place = plain(made.exported.folder) if Path(made.exported.folder).is_dir() else "a folder that is gone"
    st.caption(
        f"{percent(made.kept_fraction)} kept{trained}: perplexity {after_widths}{ratio(found.perplexity / dense)} "
        f"that of the original on {plain(found.text)}. {megabytes(made.exported.weight_bytes)} of weights in {place}."
    )
    st.code("\n".join(made.exported.load), language="python", wrap_lines=True)
