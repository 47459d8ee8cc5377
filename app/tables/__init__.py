"""Engine values as rows for people: pandas tables, one function per table; free of Streamlit."""

from app.tables.analysis import how_analysed
from app.tables.generation import stages
from app.tables.heads import HEAD_VALUES, heads
from app.tables.maps import difference, methods, projections, saved_maps
from app.tables.measured import comparison, quality, refined, results
from app.tables.passages import passages
from app.tables.runs import beside_baseline, differences, measures_of_role, provenance, run_label, runs, shown_measures
from app.tables.scores import (
    SCORES,
    SUMMARIES,
    agreement_sentence,
    agreement_with,
    cheapest_first,
    importance_shares,
    rank_agreement,
    score_shares,
    sensitivity,
    spectra,
)
from app.tables.spectrum_lines import QUANTITIES, cuts, energy_lost, spectrum_lines
from app.tables.trials import trials
from app.tables.weights import licences, shapes, skipped

__all__ = [
    "HEAD_VALUES",
    "QUANTITIES",
    "SCORES",
    "SUMMARIES",
    "agreement_sentence",
    "agreement_with",
    "beside_baseline",
    "cheapest_first",
    "comparison",
    "cuts",
    "difference",
    "differences",
    "energy_lost",
    "heads",
    "how_analysed",
    "importance_shares",
    "licences",
    "measures_of_role",
    "methods",
    "passages",
    "projections",
    "provenance",
    "quality",
    "rank_agreement",
    "refined",
    "results",
    "run_label",
    "runs",
    "saved_maps",
    "score_shares",
    "sensitivity",
    "shapes",
    "shown_measures",
    "skipped",
    "spectra",
    "spectrum_lines",
    "stages",
    "trials",
]
