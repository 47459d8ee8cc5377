"""What a model that follows a schedule runs, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.decoding.schedules import RankSchedule


def stages(fractions: Sequence[float], schedule: RankSchedule) -> pd.DataFrame:
    """Return one row per budget of a schedule, with the share that ran once it was reached.

    Args:
        fractions: active share of the compressible parameters of each token so far.
        schedule: what the model follows.
    """
    firsts = [next(n for n in range(schedule.length) if schedule.stage_at(n) == s) for s in range(schedule.stages)]
    return pd.DataFrame(
        {
            "first": first + 1,
            "budget": budget,
            "active": fractions[first] if first < len(fractions) else None,
        }
        for first, budget in zip(firsts, schedule.kept_fractions, strict=True)
    )
