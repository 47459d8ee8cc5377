"""Functions that ask for one typed value, or show one thing that several pages need."""

from app.widgets.analysis_form import analysis_form
from app.widgets.analysis_picker import current_analysis, lead_to_analysis
from app.widgets.board_state import COMPARED_KEY, aim_of, board_key, board_state, take_report
from app.widgets.errors import errors_shown
from app.widgets.estimate import show_estimate
from app.widgets.frames import (
    comparison_frame,
    difference_frame,
    inventory_frame,
    methods_frame,
    plain_frame,
    quality_frame,
    refined_frame,
    saved_maps_frame,
    stages_frame,
)
from app.widgets.held_draft import keep_held, restore_held
from app.widgets.history import keep_history_tidy
from app.widgets.job_progress import follow, show_progress, watch
from app.widgets.level_picker import evaluation_form
from app.widgets.links import page_link
from app.widgets.opened_map import close_map, open_map, opened_map
from app.widgets.pickers import (
    budget_slider,
    kept_fraction_slider,
    method_picker,
    metric_picker,
    option_picker,
)
from app.widgets.presence import presence
from app.widgets.prompt_form import generation_settings, prompt_input
from app.widgets.rank_table import held_ranks, rank_table, release_all
from app.widgets.run_pickers import RunFilter, chosen_runs, run_filter
from app.widgets.runs_frame import differences_frame, provenance_frame, runs_frame
from app.widgets.text_choice import runs_of_one_text
from app.widgets.text_form import measuring_form
from app.widgets.url_state import carry_url_state, set_url_state, url_state
from app.widgets.welcome import start_analysis, welcome

__all__ = [
    "COMPARED_KEY",
    "RunFilter",
    "aim_of",
    "analysis_form",
    "board_key",
    "board_state",
    "budget_slider",
    "carry_url_state",
    "chosen_runs",
    "close_map",
    "comparison_frame",
    "current_analysis",
    "difference_frame",
    "differences_frame",
    "errors_shown",
    "evaluation_form",
    "follow",
    "generation_settings",
    "held_ranks",
    "inventory_frame",
    "keep_held",
    "keep_history_tidy",
    "kept_fraction_slider",
    "lead_to_analysis",
    "measuring_form",
    "method_picker",
    "methods_frame",
    "metric_picker",
    "open_map",
    "opened_map",
    "option_picker",
    "page_link",
    "plain_frame",
    "presence",
    "prompt_input",
    "provenance_frame",
    "quality_frame",
    "rank_table",
    "refined_frame",
    "release_all",
    "restore_held",
    "run_filter",
    "runs_frame",
    "runs_of_one_text",
    "saved_maps_frame",
    "set_url_state",
    "show_estimate",
    "show_progress",
    "stages_frame",
    "start_analysis",
    "take_report",
    "url_state",
    "watch",
    "welcome",
]
