"""Stored results as columns: every number once, with its interval, named so that equal names compare; free of torch."""

from engine.results.columns._base import Kind, Measure, Quantity, Role
from engine.results.columns._export import measures, results_to_csv
from engine.results.columns._running import running_measures
from engine.results.columns._size import size_measures
from engine.results.columns._summaries import SummariesColumn, summaries_columns, summary_measures
from engine.results.columns._tasks import TaskColumn, task_columns, task_measures
from engine.results.columns._texts import text_measures

__all__ = [
    "Kind",
    "Measure",
    "Quantity",
    "Role",
    "SummariesColumn",
    "TaskColumn",
    "measures",
    "results_to_csv",
    "running_measures",
    "size_measures",
    "summaries_columns",
    "summary_measures",
    "task_columns",
    "task_measures",
    "text_measures",
]
