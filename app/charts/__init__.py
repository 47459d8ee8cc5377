"""Tables as plotly figures; free of Streamlit.

Colours stay apart for the colour-blind (Okabe-Ito, cividis).
"""

from app.charts.frontier import front_of, frontier
from app.charts.heatmap import layer_heatmap, log_limits
from app.charts.quality import comparison_lines, predicted_against_measured, quality_curves
from app.charts.score_bars import score_bars
from app.charts.score_lines import score_shares
from app.charts.spectrum_lines import cumulative_energy, spectra
from app.charts.style import DASHES, NEUTRAL, OKABE_ITO, SYMBOLS, method_style

__all__ = [
    "DASHES",
    "NEUTRAL",
    "OKABE_ITO",
    "SYMBOLS",
    "comparison_lines",
    "cumulative_energy",
    "front_of",
    "frontier",
    "layer_heatmap",
    "log_limits",
    "method_style",
    "predicted_against_measured",
    "quality_curves",
    "score_bars",
    "score_shares",
    "spectra",
]
