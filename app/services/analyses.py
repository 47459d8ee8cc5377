"""Analyses, their spectra and sensitivities; cached by the analysis's id, which is the fingerprint of its content."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from app.services.home import store, stored_of
from app.services.of_run import of_run
from engine.analysis.curves import SpectrumSummary, predicted_increase, rank_at_energy, summarise_spectrum
from engine.errors import NamedMapError
from engine.pipeline.reading import analyses, measurements
from engine.pipeline.reading.rounding import is_outdated, rounding_key
from engine.rank_map.notes import ANALYSES, RunNote, RunNotes
from engine.settings import home
from engine.types import GroupCurves, Metric

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.pipeline.reading.analyses import AnalysisHeading
    from engine.results.outcomes import MeasuredSensitivity


def analysis_headings() -> list[AnalysisHeading]:
    """Return every analysis with its name, newest first."""
    return of_run("analyses", _headings)


def _headings() -> list[AnalysisHeading]:
    names: dict[str, RunNote] = {}
    with suppress(NamedMapError):  # names that cannot be read hide no analysis
        names = RunNotes(home().notes, ANALYSES).all()
    return [replace(h, name=names.get(h.id, RunNote()).name) for h in analyses.analysis_headings(store())]


def same_factors(analysis_id: str) -> frozenset[str]:
    """Return the ids of the analyses with one's factors, its own among them."""
    families = ({heading.id, *heading.replaces} for heading in analysis_headings())
    return frozenset({analysis_id}.union(*(ids for ids in families if analysis_id in ids)))


def analysis(analysis_id: str) -> Analysis:
    """Return an analysis; shared by all sessions and never changed."""
    return _analysis(analysis_id, str(rounding_key(analysis_id)) in stored_of("rounding"))


def has_outdated_rounding(analysis_id: str) -> bool:
    """Return whether an earlier version predicted what rounding does, which is to be predicted again."""
    return is_outdated(store(), analysis_id)


@st.cache_resource(max_entries=4, show_spinner="Reading the analysis")
def _analysis(analysis_id: str, knows_rounding: bool) -> Analysis:  # noqa: ARG001 - part of the cache's key
    return analyses.load_analysis(store(), analysis_id)


@st.cache_resource(max_entries=4, show_spinner=False)
def curves(analysis_id: str) -> dict[Metric, list[GroupCurves]]:
    return analyses.curves_by_metric(analysis(analysis_id))


@st.cache_data(max_entries=16, show_spinner=False)
def spectrum_summaries(analysis_id: str, metric: Metric) -> dict[str, SpectrumSummary]:
    """Return the summary of every block's spectrum, by block name."""
    return {name: summarise_spectrum(values) for name, values in analysis(analysis_id).energies[metric].items()}


@st.cache_data(max_entries=64, show_spinner=False)
def ranks_at_energy(analysis_id: str, metric: Metric, fraction: float) -> dict[str, int]:
    """Return the smallest rank of every block that holds a fraction of its energy, by block name."""
    return {name: rank_at_energy(values, fraction) for name, values in analysis(analysis_id).energies[metric].items()}


@st.cache_data(max_entries=64, show_spinner=False)
def predicted_increases(analysis_id: str, kept_fraction: float, metric: Metric | None = None) -> dict[str, float]:
    """Return the predicted nats per token when each projection alone is cut to ``kept_fraction``."""
    analysed = analysis(analysis_id)
    return {p.name: predicted_increase(analysed, p, kept_fraction, metric) for p in analysed.inventory.projections}


def measured_sensitivity(analysis_id: str) -> MeasuredSensitivity | None:
    """Return the newest measured sensitivity of an analysis."""
    return _measured_sensitivity(analysis_id, same_factors(analysis_id), stored_of("sensitivity"))


@st.cache_data(max_entries=8, show_spinner=False)
def _measured_sensitivity(
    analysis_id: str,
    known: frozenset[str],  # noqa: ARG001 - part of the cache's key
    names: tuple[str, ...],  # noqa: ARG001 - part of the cache's key
) -> MeasuredSensitivity | None:
    return measurements.measured_sensitivity(store(), analysis_id)
