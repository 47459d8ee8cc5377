"""Prompts to start from; free of Streamlit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked.

    Attributes:
        text: of the prompt.
        is_question: it goes through the model's chat template; else the model continues the text.
    """

    text: str
    is_question: bool


PROMPTS: Final[Mapping[str, Prompt]] = {
    "Continue: a story": Prompt("The old harbour had been quiet for years, until one morning", False),
    "Continue: chocolate": Prompt("The history of chocolate begins in", False),
    "Continue: code": Prompt("def fibonacci(n):\n", False),
    "Question: the sky": Prompt("Why is the sky blue? Answer in three sentences.", True),
    "Question: vaccines": Prompt("Explain to a ten-year-old how a vaccine works.", True),
    "Question: arithmetic": Prompt(
        "A train leaves at 9:40 and arrives at 13:05. How long is the journey? Think step by step.", True
    ),
}
"""Prompts by title, the one shown first in front."""

MAX_CHARACTERS: Final = 4000
_ARTICLES: Final = 3
_ARTICLE_CHARACTERS: Final = 900
_TITLE_CHARACTERS: Final = 40


def summaries_of(path: Path) -> dict[str, Prompt]:
    """Return prompts that ask for a summary of the first short articles of a JSON Lines file, by title."""
    by_title: dict[str, Prompt] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            article = json.loads(line)["document"].strip()
            if not 300 < len(article) <= _ARTICLE_CHARACTERS:
                continue
            title = f"Summarise: {article[:_TITLE_CHARACTERS].rsplit(' ', 1)[0]} …"
            by_title[title] = Prompt(f"{article}\n\nSummarize this article in one sentence.", True)
            if len(by_title) == _ARTICLES:
                break
    return by_title
