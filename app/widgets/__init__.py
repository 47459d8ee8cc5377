"""Functions that ask for one typed value, or show one thing that several pages need."""

from app.widgets.analysis_form import analysis_form
from app.widgets.analysis_picker import current_analysis, forget_choice
from app.widgets.board_state import board_key, board_state, take_report
from app.widgets.errors import errors_shown
from app.widgets.frames import inventory_frame, methods_frame, plain_frame, results_frame
from app.widgets.job_progress import follow, show_progress, watch
from app.widgets.links import page_link
from app.widgets.map_upload import map_upload
from app.widgets.pickers import (
    budget_slider,
    kept_fraction_slider,
    metric_picker,
    option_picker,
)
from app.widgets.rank_table import held_ranks, rank_table, release_all
from app.widgets.text_choice import runs_of_one_text
from app.widgets.text_form import measuring_form

__all__ = [
    "analysis_form",
    "board_key",
    "board_state",
    "budget_slider",
    "current_analysis",
    "errors_shown",
    "follow",
    "forget_choice",
    "held_ranks",
    "inventory_frame",
    "kept_fraction_slider",
    "map_upload",
    "measuring_form",
    "methods_frame",
    "metric_picker",
    "option_picker",
    "page_link",
    "plain_frame",
    "rank_table",
    "release_all",
    "results_frame",
    "runs_of_one_text",
    "show_progress",
    "take_report",
    "watch",
]
