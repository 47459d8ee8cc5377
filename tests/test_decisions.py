"""The table at the head of the decisions names all of them."""

from __future__ import annotations

import re
from pathlib import Path

DECISIONS = Path(__file__).parents[1] / "docs" / "decisions.md"


def test_the_table_of_decisions_has_the_first_and_last_of_every_topic() -> None:
    text = DECISIONS.read_text(encoding="utf-8")
    found = [(topic, int(number)) for topic, number in re.findall(r"^\*\*([A-Z]{2})-(\d+)\. ", text, re.MULTILINE)]
    assert len(set(found)) == len(found)
    numbers = {topic: [number for of, number in found if of == topic] for topic, _ in found}
    listed = re.findall(r"\| ([A-Z]{2})-(\d+) – \1-(\d+) ", text)
    assert {topic: (int(first), int(last)) for topic, first, last in listed} == {
        topic: (min(its), max(its)) for topic, its in numbers.items()
    }
