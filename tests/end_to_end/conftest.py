"""A toy model in a folder and a text file, as a user would bring them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import toys

LINES = (
    "The river rose in the night and the bridge was closed until the morning.",
    "A matrix of low rank can be written as the product of two thin ones.",
    "Nobody in the village had seen so much snow in April before.",
    "The committee will publish its report on the budget next week.",
)


@pytest.fixture(scope="session")
def text_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("text") / "notes.txt"
    path.write_text("\n\n".join(f"{line} Part {i}." for i in range(60) for line in LINES), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, toy_tokenizer):
    """Return a function from an architecture's name to a folder with model and tokenizer."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            toys.build(name).save_pretrained(made[name])
            toy_tokenizer.save_pretrained(made[name])
        return made[name]

    return folder
