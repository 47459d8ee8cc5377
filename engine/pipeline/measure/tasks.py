"""Zero-shot scores of the dense model and of rank maps, one stored artifact per task and model."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from engine.evaluation.bootstrap import bootstrap_difference
from engine.evaluation.demo_tasks import DEMO_TASKS
from engine.evaluation.tasks import LoadedTask, lm_eval_version, load_tasks, run_task
from engine.machine import versions
from engine.model.demo import fetch_texts
from engine.pipeline.measure.part import write_part
from engine.precision import ROUNDINGS
from engine.rank_map.identity import ITEMS, part_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cache import Key
    from engine.evaluation.tasks import TaskScores
    from engine.pipeline.opened import OpenedAnalysis
    from engine.progress import Report
    from engine.rank_map.document import RankMap


def task_parts(opened: OpenedAnalysis, names: Sequence[str], limit: int | None, report: Report) -> list[TaskPart]:
    """Return a part for every task; their items are read, so that what is wrong with a name comes first.

    Raises:
        RankScopeError: a task does not exist or its data cannot be had.
    """
    report("tasks", 0.0, "Reading the items of the tasks")
    demo = None
    if any(name in DEMO_TASKS for name in names):
        demo = fetch_texts(opened.home, report)
    return [TaskPart(opened, task) for task in load_tasks(names, limit, demo)]


@dataclass(frozen=True, slots=True)
class TaskPart:
    """The score on one task."""

    opened: OpenedAnalysis
    task: LoadedTask

    @property
    def weight(self) -> int:
        """About the tokens of all requests."""
        return 1 + sum(len(str(argument)) for i in self.task.task.instances for argument in i.arguments) // 4

    def key(self, rank_map: RankMap | None) -> Key:
        """Return where the score is stored; the items' fingerprint covers prompts, limit and lm-eval's version."""
        spec = {"task": self.task.name, "dtype": self.opened.dtype}
        subject = None if rank_map is None else (self.opened.analysis.id, rank_map)
        model, rounding = self.opened.folder.fingerprint, ROUNDINGS.get(self.opened.weight_bits)
        return part_key("task-scores", spec, model, self.task.fingerprint, subject, rounding)

    def is_stored(self, rank_map: RankMap | None) -> bool:
        """Return whether the score is there."""
        return self.key(rank_map) in self.opened.store

    def measure(self, rank_map: RankMap | None, report: Report) -> None:
        """Score and store, with the difference from the dense model paired by item."""
        begun = time.monotonic()
        module = self.opened.module(rank_map)
        scores = run_task(module, self.opened.dense.tokenizer, self.task, report)
        document = {
            "versions": {**versions(), "lm-eval": lm_eval_version()},
            "data_fingerprint": self.task.fingerprint,
            "setting": self.task.fingerprint,
            "seed": None,
            "seconds": round(time.monotonic() - begun, 2),
            "task": self.task.name,
            "n": self.task.n,
            "n_available": self.task.n_available,
            "limit": self.task.limit,
            "config": self.task.config,
            "metrics": {name: {"value": value, "stderr": error} for name, (value, error) in scores.metrics.items()},
            "differences": {} if rank_map is None else self._differences(scores),
        }
        write_part(self.opened, self.key(rank_map), rank_map, document, {ITEMS: scores.items})

    def _differences(self, scores: TaskScores) -> dict[str, dict[str, float]]:
        dense = self.opened.store.read(self.key(None)).arrays(ITEMS)
        return {
            name: asdict(bootstrap_difference(values, dense[name]))
            for name, values in scores.items.items()
            if len(values) > 1
        }
