"""Zero-shot accuracies, per task and as means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.results.columns._base import NORMAL_95, Kind, Measure, Quantity, Role, interval_quantity
from engine.results.rows import by_setting, of_setting
from engine.results.words import TASKS, unambiguous

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from engine.results.rows import ResultRow, Score, TaskResult


@dataclass(frozen=True, slots=True)
class TaskColumn:
    """One task with its items.

    Attributes:
        name: unique among the tasks of a table.
        title: the same for people.
        about: what the task asks, for people; empty where that is not known.
        setting: of the scores.
        limit: number of first items that were scored; ``None``: all.
        n: items scored.
    """

    name: str
    title: str
    about: str
    setting: tuple[Hashable, ...]
    limit: int | None
    n: int

    def of(self, row: ResultRow) -> TaskResult | None:
        """Return what was measured of a row on this task."""
        return of_setting(row.tasks, self.setting)


def task_columns(rows: Sequence[ResultRow]) -> tuple[TaskColumn, ...]:
    """Return the tasks on which any of the rows was scored, by name."""
    found = sorted(by_setting(task for row in rows for task in row.tasks), key=lambda t: (t.task, -t.n))
    amounts = [f"{'first' if t.is_limited else 'all'} {t.n:,} items" for t in found]
    titles = [TASKS.get(t.task, (t.task, ""))[0] for t in found]
    names, told = (
        unambiguous(short, [f"{name}, {amount}" for name, amount in zip(short, amounts, strict=True)])
        for short in ([t.task for t in found], titles)
    )
    return tuple(
        TaskColumn(name, title, TASKS.get(t.task, ("", ""))[1], t.setting, t.n if t.is_limited else None, t.n)
        for name, title, t in zip(names, told, found, strict=True)
    )


def suites(rows: Sequence[ResultRow], tasks: Sequence[TaskColumn]) -> tuple[tuple[TaskColumn, ...], ...]:
    """Return the sets of tasks that are averaged: for every row what it has of one amount of items, two tasks at least.

    A task that has no more items than a limit belongs to the limited set as well. The largest sets come first.
    """
    limits = dict.fromkeys(task.limit for task in tasks)
    found = dict.fromkeys(
        tuple(task for task in tasks if task.of(row) is not None and _within(task, limit))
        for limit in limits
        for row in rows
    )
    return tuple(sorted((members for members in found if len(members) > 1), key=lambda m: (-len(m), m[0].n)))


def _within(task: TaskColumn, limit: int | None) -> bool:
    return task.limit == limit or (task.limit is None and limit is not None and task.n <= limit)


def task_measures(rows: Sequence[ResultRow]) -> tuple[Measure, ...]:
    """Return the means over tasks, and every task."""
    tasks = task_columns(rows)
    sets = suites([row for row in rows if not row.is_dense] or rows, tasks)
    amounts = [f"{len(members)} tasks, {_items(members)}" for members in sets]
    means = [_mean(members, name) for members, name in zip(sets, unambiguous(amounts, amounts), strict=True)]
    each = [measure for task in tasks for measure in _of_task(task)]
    return (*means, *each)


def score_quantity(score: Score) -> Quantity:
    """Return a score with its 95 % interval of a normal distribution."""
    if score.stderr is None:
        return Quantity(score.value)
    reach = NORMAL_95 * score.stderr
    return Quantity(score.value, max(score.value - reach, 0.0), min(score.value + reach, 1.0), score.stderr)


def _mean(members: tuple[TaskColumn, ...], name: str) -> Measure:
    def of(row: ResultRow) -> Quantity | None:
        from engine.results.rows import Score

        found = [task.of(row) for task in members]
        scores = [task.acc for task in found if task is not None and task.acc is not None]
        if len(scores) < len(members):
            return None
        errors = [score.stderr for score in scores]
        stderr = None if None in errors else math.sqrt(sum((e or 0.0) ** 2 for e in errors)) / len(scores)
        return score_quantity(Score(sum(score.value for score in scores) / len(scores), stderr))

    return Measure(
        f"zero_shot_mean[{name}]",
        f"Zero-shot mean: {name}",
        f"Mean accuracy over {', '.join(task.title for task in members)}, each task counting the same.",
        Kind.PERCENT,
        Role.QUALITY,
        lower_is_better=False,
        of=of,
    )


def _items(members: tuple[TaskColumn, ...]) -> str:
    limit = max((task.limit for task in members if task.limit is not None), default=None)
    return "all items" if limit is None else f"first {limit:,} items"


def _of_task(task: TaskColumn) -> tuple[Measure, ...]:
    def measure(name: str, title: str, about: str, role: Role, get: Callable[[TaskResult], Quantity | None]) -> Measure:
        def of(row: ResultRow) -> Quantity | None:
            found = task.of(row)
            return None if found is None else get(found)

        return Measure(f"{name}[{task.name}]", title, about, Kind.PERCENT, role, lower_is_better=False, of=of)

    items = f"all {task.n:,} items" if task.limit is None else f"the first {task.n:,} items"
    return (
        measure(
            "acc",
            f"Accuracy: {task.title}",
            f"Share of {items} of {task.title} whose likeliest choice is right.{task.about and f' {task.about}'}",
            Role.QUALITY,
            lambda t: None if t.acc is None else score_quantity(t.acc),
        ),
        measure(
            "acc_norm",
            f"Accuracy, per character: {task.title}",
            f"The same with log-likelihoods per character of the choice; {items}.",
            Role.DETAIL,
            lambda t: None if t.acc_norm is None else score_quantity(t.acc_norm),
        ),
        measure(
            "acc_difference",
            f"Accuracy minus dense: {task.title}",
            f"Difference to the dense model, paired by item, with its 95 % bootstrap interval; {items}.",
            Role.DETAIL,
            lambda t: interval_quantity(t.differences.get("acc")),
        ),
    )
