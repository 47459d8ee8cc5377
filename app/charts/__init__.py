"""Tables as plotly figures; free of Streamlit.

Colours stay apart for the colour-blind (Okabe-Ito, cividis).
"""

from app.charts.active_curve import active_curve
from app.charts.heatmap import layer_heatmap, log_limits
from app.charts.quality import comparison_lines, predicted_against_measured, quality_curves
from app.charts.score_lines import agreement_matrix, score_shares
from app.charts.spectrum_lines import BREAK_EVEN, spectra
from app.charts.style import DASHES, NEUTRAL, OKABE_ITO, SYMBOLS, line_style, method_dash, method_style

__all__ = [
    "BREAK_EVEN",
    "DASHES",
    "NEUTRAL",
    "OKABE_ITO",
    "SYMBOLS",
    "active_curve",
    "agreement_matrix",
    "comparison_lines",
    "layer_heatmap",
    "line_style",
    "log_limits",
    "method_dash",
    "method_style",
    "predicted_against_measured",
    "quality_curves",
    "score_shares",
    "spectra",
]
