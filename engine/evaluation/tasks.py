"""Zero-shot scores by lm-eval, run on a model in memory.

References:
    Gao et al., "The Language Model Evaluation Harness" (the package lm-eval), whose prompts, scoring and standard
    errors are used as they are.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import lm_eval
import numpy as np
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from engine.errors import InvalidSpecError, NumericalError
from engine.evaluation.demo_tasks import DEMO_TASKS, task_definition
from engine.model.module import positions_of, require_embedded
from engine.registry import did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from engine.progress import Report


@dataclass(frozen=True, slots=True, eq=False)
class LoadedTask:
    """A task with its items.

    Attributes:
        name: of the task.
        task: lm-eval's own.
        limit: items to score, the first ones; ``None``: all.
        n: items that are scored.
        n_available: items the task has.
        config: as lm-eval describes it.
        fingerprint: of the requests of the scored items, their answers and the way they are scored.
    """

    name: str
    task: Any
    limit: int | None
    n: int
    n_available: int
    config: dict[str, Any]
    fingerprint: str


@dataclass(frozen=True, slots=True, eq=False)
class TaskScores:
    """What a model scored.

    Attributes:
        metrics: metric -> mean and standard error (``None`` where lm-eval gives none).
        items: metric -> (n,) score of every item, for metrics that have one per item.
    """

    metrics: dict[str, tuple[float, float | None]]
    items: dict[str, NDArray[np.float64]]


def load_tasks(names: Sequence[str], limit: int | None, demo_texts: Path | None) -> list[LoadedTask]:
    """Return the tasks of these names; a group of lm-eval stands for its tasks.

    Args:
        names: demo tasks, or stock tasks of lm-eval whose data set the hub or the local cache has.
        limit: most items of each.
        demo_texts: folder of the fetched demo texts; needed for demo tasks only.

    Raises:
        InvalidSpecError: a task does not exist, its data set cannot be had, or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise InvalidSpecError(f"A limit of {limit} items was given; expected at least 1, or none for all items.")
    found: dict[str, Any] = {}
    for name in names:
        if name in DEMO_TASKS:
            assert demo_texts is not None
            loaded = TaskManager(include_defaults=False).load([task_definition(name, demo_texts)])
        else:
            loaded = _load_stock(name)
        found |= loaded["tasks"]
    return [_loaded(name, task, limit) for name, task in found.items()]


def run_task(
    module: nn.Module, tokenizer: Any, loaded: LoadedTask, report: Report, *, batch_size: int = 16
) -> TaskScores:
    """Score a model on a task.

    Raises:
        InvalidSpecError: an item is longer than the model has positions.
        NumericalError: the model's numbers are not finite.
    """
    requests = loaded.task.instances
    _require_fit(module, tokenizer, loaded)
    done = 0

    def count(_: nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]) -> None:
        nonlocal done
        done += len(args[0] if args else kwargs["input_ids"])
        report("tasks", min(done / len(requests), 1.0), f"{loaded.name}: {loaded.n} items")

    # A copy, because the wrapper gives the tokenizer a padding token; float32, because bfloat16 log-likelihoods tie.
    own = copy.deepcopy(tokenizer)
    wrapper = HFLM(pretrained=module, tokenizer=own, backend="causal", batch_size=batch_size, softmax_dtype="float32")
    hook = module.register_forward_pre_hook(count, with_kwargs=True)
    try:
        # The task is prepared; simple_evaluate would also ask this machine for its packages and compilers, each time.
        tasks = TaskManager(include_defaults=False).load([loaded.task])
        found = lm_eval.evaluate(wrapper, tasks, limit=loaded.limit, bootstrap_iters=1000)
    finally:
        hook.remove()
    _require_finite(loaded)
    return _scores(found["results"][loaded.name], found["samples"][loaded.name])


def lm_eval_version() -> str:
    """Return the version whose prompts and scoring are used."""
    return str(lm_eval.__version__)


@cache
def _stock() -> TaskManager:
    return TaskManager()


def _load_stock(name: str) -> Any:
    known = _stock().all_tasks
    if name not in known:
        near = did_you_mean(name, [*DEMO_TASKS, *known])
        raise InvalidSpecError(
            f"The task {shown(name)} does not exist{near}; expected one of {', '.join(DEMO_TASKS)} or a task of "
            f"lm-eval {lm_eval_version()} ('lm-eval ls tasks' lists them)."
        )
    try:
        return _stock().load([name])
    except Exception as error:  # data sets raise whatever the hub's client, Arrow or a task's own code does
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise InvalidSpecError(
            f"The data of the task {name} could not be loaded ({reason}); check the network, or use the tasks "
            f"that need no hub: {', '.join(DEMO_TASKS)}."
        ) from error


def _loaded(name: str, task: Any, limit: int | None) -> LoadedTask:
    if task.get_config("unsafe_code"):
        raise InvalidSpecError(
            f"The task {name} executes code written by the model, which RankScope does not do; leave it out."
        )
    if task.get_config("num_fewshot") is None:
        task.set_config("num_fewshot", 0)
    task.set_fewshot_seed(seed=1234)  # what simple_evaluate sets
    task.build_all_requests(limit=limit)
    config = json.loads(json.dumps({k: v for k, v in task.dump_config().items() if k != "custom_dataset"}, default=str))
    digest = hashlib.sha256(json.dumps([lm_eval_version(), config], sort_keys=True).encode())
    for instance in task.instances:
        row = [instance.doc_id, instance.request_type, instance.arguments, task.doc_to_target(instance.doc)]
        digest.update(json.dumps(row, default=str).encode())
    available = len(task.eval_docs)
    n = available if limit is None else min(limit, available)
    return LoadedTask(name, task, limit, n, available, config, digest.hexdigest())


def _require_fit(module: nn.Module, tokenizer: Any, loaded: LoadedTask) -> None:
    positions = positions_of(module)
    texts = [str(instance.arguments[0]) + str(instance.arguments[-1]) for instance in loaded.task.instances]
    items = tokenizer(texts, verbose=False)["input_ids"]
    require_embedded(module, chain.from_iterable(items))
    longest = max(map(len, items))
    if positions is not None and longest > positions:
        raise InvalidSpecError(
            f"The task {loaded.name} has an item of {longest:,} tokens, but the model has {positions:,} positions; "
            "leave the task out or use a model with more."
        )


def _require_finite(loaded: LoadedTask) -> None:
    """Raise where a choice would be taken among numbers that mean nothing."""
    for instance in loaded.task.instances:
        if instance.request_type == "loglikelihood" and not all(math.isfinite(found[0]) for found in instance.resps):
            raise NumericalError(
                f"The model gives a log-likelihood that is not finite for item {instance.doc_id} of {loaded.name}; try "
                "--dtype float32 or larger ranks."
            )


def _scores(means: dict[str, Any], samples: Sequence[dict[str, Any]]) -> TaskScores:
    metrics: dict[str, tuple[float, float | None]] = {}
    items: dict[str, NDArray[np.float64]] = {}
    for name, value in means.items():
        metric, comma, filtered = name.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, (int, float)):
            continue
        stderr = means.get(f"{metric}_stderr,{filtered}")
        label = metric if filtered == "none" else name
        # lm-eval says N/A, or NaN for a single item, where there is no standard error.
        error = float(stderr) if isinstance(stderr, (int, float)) else math.nan
        metrics[label] = (float(value), error if math.isfinite(error) else None)
        rows = sorted((s for s in samples if s["filter"] == filtered), key=lambda s: int(s["doc_id"]))
        values = [row.get(metric) for row in rows]
        if values and all(isinstance(v, (bool, int, float)) for v in values):
            items[label] = np.array(values, dtype=np.float64)
    return TaskScores(metrics, items)
