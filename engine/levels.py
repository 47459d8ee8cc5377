"""How thoroughly rank maps are evaluated: the levels of the operation ``evaluate`` beyond perplexity alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from engine import operations
from engine.errors import InvalidSpecError
from engine.evaluation.demo_tasks import DEMO_TASKS
from engine.registry import unknown_name
from engine.specs import CorpusSpec, EvaluationSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.pipeline.measure.plan import Plan

QUICK_DEFAULTS: Final[dict[str, Any]] = {
    **operations.EVALUATE_DEFAULTS,
    "n_sequences": 16,
    "dtype": "bfloat16",
    "other_text": "",
    "other_n_sequences": 10,
    "tasks": ["demo_piqa", "demo_openbookqa"],
    "limit": 100,
    "articles": 0,
    "article_text": "demo:news",
    "article_field": "document",
    "summary_field": "summary",
    "article_length": 300,
    "template": None,
    "max_new_tokens": 40,
    "min_new_tokens": 0,
    "prompt_tokens": 32,
    "new_tokens": 6,
    "speed_batches": [1, 4],
    "repetitions": 3,
    "memory": False,
    "seed": 0,
}
"""A minute for a small model: part of the text, 100 items of two tasks, speed."""

FULL_DEFAULTS: Final[dict[str, Any]] = {
    **QUICK_DEFAULTS,
    "n_sequences": 20,
    "other_text": "demo:news",
    "tasks": list(DEMO_TASKS),
    "limit": None,
    "articles": 50,
    "prompt_tokens": 128,
    "new_tokens": 16,
    "speed_batches": [1, 8],
    "repetitions": 5,
    "memory": True,
}
"""Everything: two texts, all items of all demo tasks, summaries, speed and memory."""

LEVELS: Final[Mapping[str, dict[str, Any]]] = {
    "perplexity": operations.EVALUATE_DEFAULTS,
    "quick": QUICK_DEFAULTS,
    "full": FULL_DEFAULTS,
}
"""Every level with the settings it has and their defaults."""


def level_settings(level: str) -> dict[str, Any]:
    """Return the settings of a level with their defaults.

    Raises:
        InvalidSpecError: there is no such level.
    """
    if level not in LEVELS:
        raise InvalidSpecError(unknown_name("evaluation level", level, LEVELS))
    return LEVELS[level]


def evaluation_plan(a: Mapping[str, Any]) -> Plan:
    """Return what is measured under all settings of a level, its own or others.

    Raises:
        InvalidSpecError: a setting is out of range or names nothing.
    """
    from engine.evaluation.cost import CostSpec
    from engine.evaluation.memory import MemorySpec
    from engine.evaluation.summaries import DEFAULT_TEMPLATE, SummarySpec
    from engine.pipeline.measure.plan import Plan

    texts = [operations.corpus_spec(a, "evaluation")]
    if a["other_text"]:
        other = {**a, "text": a["other_text"], "n_sequences": a["other_n_sequences"]}
        texts.append(operations.corpus_spec(other, "evaluation"))
    summaries = None
    if a["articles"]:
        articles = CorpusSpec.parse(
            a["article_text"],
            part="evaluation",
            n_sequences=a["articles"],
            length=a["article_length"],
            text_field=a["article_field"],
        )
        summaries = SummarySpec(
            articles,
            a["summary_field"],
            a["template"] or DEFAULT_TEMPLATE,
            max_new_tokens=a["max_new_tokens"],
            min_new_tokens=a["min_new_tokens"],
            dtype=a["dtype"],
            seed=a["seed"],
        )
    cost = None
    if a["repetitions"]:
        cost = CostSpec(a["prompt_tokens"], a["new_tokens"], tuple(a["speed_batches"]), a["repetitions"], a["seed"])
    return Plan(
        tuple(EvaluationSpec(text, a["dtype"], a["batch_size"]) for text in texts),
        tuple(a["tasks"]),
        a["limit"] or None,
        summaries,
        cost,
        MemorySpec(a["dtype"], a["prompt_tokens"]) if a["memory"] else None,
        a["dtype"],
    )
