"""What a campaign is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Options:
    """The options of one campaign.

    Attributes:
        folder: an empty one for everything it writes.
        n_cases: how many; ``None`` for enough.
        seed: of every choice.
        minutes: after which nothing else is begun.
        at_once: processes.
        only: the text that names of cases have to contain.
    """

    folder: Path
    n_cases: int | None = None
    seed: int = 0
    minutes: float = 60.0
    at_once: int = 1
    only: str = ""
