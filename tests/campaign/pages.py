"""Operations that only pages ask for: one more command for them, and wrong arguments of every kind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from engine.cli import command
from engine.cli._console import artifact_store, follow, queue_on
from engine.operations import Passages, PredictRounding, operations, submit
from tests.campaign.cases import Case
from tests.campaign.mutating import mutations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.campaign.ground import Ground

PAGE = "page"


@command.command(PAGE, hidden=True)
def page(operation: str, arguments: str) -> None:
    """Queue an operation with arguments in JSON, as a page does, and follow it."""
    queue = queue_on()
    follow(submit(operations.get(operation)(**json.loads(arguments)), queue, artifact_store()), queue)


def asked(ground: Ground) -> dict[str, dict[str, object]]:
    """Return small arguments of every operation that has no command and that people ask for, by its name."""
    rank_map = (ground.folder / "map.json").read_text()
    of_map: dict[str, object] = {"analysis": ground.analysis, "rank_map": rank_map, "text": "corpus.txt"}
    cut = next(block["projections"][0] for block in json.loads(rank_map)["blocks"] if block["rank"] is not None)
    few = {"n_sequences": 2, "length": 32, "text_field": "text", "dtype": "float32", "device": "cpu"}
    return {
        PredictRounding.name: {"analysis": ground.analysis},
        Passages.name: of_map | {"projection": cut} | few,
    }


def cases(ground: Ground) -> Iterator[Case]:
    """Yield every wrong value of every argument."""
    for operation, arguments in asked(ground).items():
        for what, change in mutations(arguments).items():
            yield Case(f"page: {operation} {what}", (PAGE, operation, change(b"").decode()))
