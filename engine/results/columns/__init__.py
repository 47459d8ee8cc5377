"""Stored results as columns: every number once, with its interval, named so that equal names compare; free of torch."""

from engine.results.columns._base import Figure, Kind, Measure, Role
from engine.results.columns._export import measures, results_to_csv
from engine.results.columns._running import running_measures
from engine.results.columns._size import size_measures
from engine.results.columns._summaries import SummariesColumn, summaries_columns, summary_measures
from engine.results.columns._tasks import TaskColumn, task_columns, task_measures
from engine.results.columns._texts import TextColumn, text_columns, text_measures

__all__ = [
    "Figure",
    "Kind",
    "Measure",
    "Role",
    "SummariesColumn",
    "TaskColumn",
    "TextColumn",
    "measures",
    "results_to_csv",
    "running_measures",
    "size_measures",
    "summaries_columns",
    "summary_measures",
    "task_columns",
    "task_measures",
    "text_columns",
    "text_measures",
]
