"""Tables as plotly figures; free of Streamlit.

Colours stay apart for the colour-blind (Okabe-Ito, Viridis).
"""

from app.charts.active_curve import active_curve
from app.charts.colour_bar import log_limits, spans_orders
from app.charts.energy_lost import energy_lost
from app.charts.frontier import front_of, frontier
from app.charts.heatmap import layer_heatmap
from app.charts.quality import comparison_lines, predicted_against_measured, quality_curves
from app.charts.score_bars import score_bars
from app.charts.score_lines import score_shares
from app.charts.spectrum_lines import Axes, spectra
from app.charts.style import OKABE_ITO, chart_config, depth_colours, line_style, method_dash, method_style
from app.charts.trials import searched_maps

__all__ = [
    "OKABE_ITO",
    "Axes",
    "active_curve",
    "chart_config",
    "comparison_lines",
    "depth_colours",
    "energy_lost",
    "front_of",
    "frontier",
    "layer_heatmap",
    "line_style",
    "log_limits",
    "method_dash",
    "method_style",
    "predicted_against_measured",
    "quality_curves",
    "score_bars",
    "score_shares",
    "searched_maps",
    "spans_orders",
    "spectra",
]
