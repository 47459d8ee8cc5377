"""What a job can do, one module for each operation: plain JSON arguments in, plain JSON out.

The command line and the pages read defaults, ranges and help from the operations, and submit them as jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from engine.operations._base import Operation
from engine.operations._setting import Setting
from engine.operations._subjects import OnText
from engine.operations.analyse import Analyse
from engine.operations.analyse_shard import AnalyseShard
from engine.operations.compare import Compare
from engine.operations.compress import Compress
from engine.operations.evaluate import Evaluate
from engine.operations.export import Export
from engine.operations.fetch_demo import FetchDemo
from engine.operations.passages import Passages
from engine.operations.post_train import PostTrain
from engine.operations.predict_rounding import PredictRounding
from engine.operations.refine import Refine
from engine.operations.search import Search, SearchWorker
from engine.operations.sensitivity import Sensitivity
from engine.registry import Registry
from engine.results.json_form import to_json
from engine.settings import home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cache import Store
    from engine.jobs import Job, JobQueue
    from engine.jobs.entry import QueueNext
    from engine.progress import Report

__all__ = [
    "Analyse",
    "AnalyseShard",
    "Compare",
    "Compress",
    "Evaluate",
    "Export",
    "FetchDemo",
    "OnText",
    "Operation",
    "Passages",
    "PostTrain",
    "PredictRounding",
    "Refine",
    "Search",
    "SearchWorker",
    "Sensitivity",
    "Setting",
    "operations",
    "run",
    "submit",
]

operations: Final[Registry[type[Operation]]] = Registry("operation")
for _operation in (
    FetchDemo,
    Analyse,
    AnalyseShard,
    Evaluate,
    Sensitivity,
    Search,
    SearchWorker,
    Refine,
    Export,
    Compare,
    Compress,
    PostTrain,
    PredictRounding,
    Passages,
):
    operations.register(_operation.name)(_operation)


def run(operation: str, arguments: Mapping[str, Any], report: Report, queue_next: QueueNext) -> object:
    """Run one operation in this process, and return the JSON of its result; the entry point of every job.

    What follows it is queued before it counts as done, so that a queue that is left alone goes on with it.

    Args:
        operation: its name.
        arguments: JSON values.
        report: receives progress.
        queue_next: queues the operation that follows, by its name, arguments and title.

    Raises:
        InvalidSpecError: there is no such operation, or an argument is wrong or unknown.
        RankScopeError: the operation says why it cannot be done.
    """
    asked, place = operations.get(operation)(**arguments), home()
    result = asked.run(place, report)
    following = asked.following(place.store, result)
    if following is not None:
        following.check()
        queue_next(following.name, following.arguments(), following.title(place.store))
    return to_json(result)


def submit(operation: Operation, queue: JobQueue, store: Store) -> Job:
    """Queue an operation and its helpers, again if it was done before, because what it made may have been deleted.

    Raises:
        RankScopeError: arguments do not fit each other, or there is no such analysis, text or model.
    """
    operation.check()
    job = _queued(operation, queue, store, None)
    for helper in operation.helpers():
        _queued(helper, queue, store, job.id)
    return job


def _queued(operation: Operation, queue: JobQueue, store: Store, lead: str | None) -> Job:
    needed = operation.memory_bytes()
    return queue.submit(
        operation.name,
        operation.arguments(),
        title=operation.title(store),
        estimate=None if needed is None else {"memory_bytes": needed},
        resubmit=True,
        lead=lead,
    )
