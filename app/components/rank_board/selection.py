"""What the board selects where an address names it, which its ``board/address.js`` reads."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from engine.analysis.value import Analysis


def selected_in_address(analysis: Analysis, names: Collection[str]) -> dict[str, str]:
    """Return the parameter that selects projections: their places in the model, neighbours as ranges."""
    places = [place for place, name in enumerate(analysis.projections) if name in names]
    runs = [
        [place for _, place in run]
        for _, run in groupby(enumerate(places), key=lambda numbered: numbered[1] - numbered[0])
    ]
    return {"select": ".".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)}
