"""Engine values as rows for people: pandas tables, one function per table; free of Streamlit."""

from app.tables.maps import difference, methods, projections, saved_maps
from app.tables.measured import comparison, measured_on, refined, results
from app.tables.runs import differences, measures_of_role, provenance, run_label, runs, shown_measures
from app.tables.scores import SCORES, SUMMARIES, rank_agreement, sensitivity, spectra
from app.tables.sizes import BYTES_PER_PARAM
from app.tables.weights import licences, shapes, skipped

__all__ = [
    "BYTES_PER_PARAM",
    "SCORES",
    "SUMMARIES",
    "comparison",
    "difference",
    "differences",
    "licences",
    "measured_on",
    "measures_of_role",
    "methods",
    "projections",
    "provenance",
    "rank_agreement",
    "refined",
    "results",
    "run_label",
    "runs",
    "saved_maps",
    "sensitivity",
    "shapes",
    "shown_measures",
    "skipped",
    "spectra",
]
