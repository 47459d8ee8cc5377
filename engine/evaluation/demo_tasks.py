"""Zero-shot tasks over the demo's items, as lm-eval's task definitions, with the prompts of its stock tasks.

The package that carries the items has reformatted them (options in one string behind letters, sub-samples), so that
scores do not compare with published ones; the names say so.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class DemoTask(NamedTuple):
    """One task.

    Attributes:
        file: of the demo texts.
        prompt: lm-eval's template over ``question``, ``passage`` and ``choices``.
        metrics: lm-eval's names.
    """

    file: str
    prompt: str
    metrics: tuple[str, ...] = ("acc", "acc_norm")


DEMO_TASKS: Final[Mapping[str, DemoTask]] = {
    "demo_piqa": DemoTask("piqa.jsonl", "Question: {{question}}\nAnswer:"),
    "demo_openbookqa": DemoTask("openbookqa.jsonl", "{{question}}"),
    "demo_commonsenseqa": DemoTask("commonsenseqa.jsonl", "Question: {{question}}\nAnswer:"),
    "demo_boolq": DemoTask("boolq.jsonl", "{{passage}}\nQuestion: {{question}}?\nAnswer:", ("acc",)),
}
"""The tasks by name. Yes or no differ in length only, so demo_boolq has no acc_norm, like the stock task."""

_LETTER = re.compile(r"(?:^|\n)([A-Z])\. ")


def task_definition(name: str, demo_texts: Path) -> dict[str, Any]:
    """Return the definition of a demo task for lm-eval's task manager.

    Args:
        name: one of ``DEMO_TASKS``.
        demo_texts: folder of the fetched demo texts.
    """
    task = DEMO_TASKS[name]

    def items(**_: object) -> dict[str, Any]:
        import datasets

        return {"test": datasets.Dataset.from_list(read_items(demo_texts / task.file))}

    metrics = [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in task.metrics]
    return {
        "task": name,
        "custom_dataset": items,
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": task.prompt,
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": metrics,
        "metadata": {"version": 1.0},
    }


def read_items(path: Path) -> list[dict[str, Any]]:
    """Return ``question``, ``passage`` (or empty), ``choices`` and ``answer`` (an index) of every item of a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_item(json.loads(line), path.name) for line in lines if line.strip()]


def _item(row: Mapping[str, str], where: str) -> dict[str, Any]:
    if "options" not in row:
        return {
            "question": row["question"].strip(),
            "passage": row["passage"].strip(),
            "choices": ["no", "yes"],
            "answer": ("False", "True").index(row["answer"]),
        }
    # In some items the first options stand at the end of the question.
    question, *parts = _LETTER.split(row["question"] + "\n" + row["options"].lstrip("\n"))
    letters, choices = parts[::2], [part.strip() for part in parts[1::2]]
    answer = row["answer"][:1]
    if answer not in letters or letters != sorted(set(letters)):
        raise CorpusError(
            f"An item of {where} has the options {', '.join(letters) or 'none'} and the answer {answer!r}; expected "
            "one of the options, so fetch the demo again."
        )
    return {"question": question.strip(), "passage": "", "choices": choices, "answer": letters.index(answer)}
