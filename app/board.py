"""What the rank board is told in every run, as plain JSON values; free of Streamlit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.plans import Plan
from engine.board import presets_json
from engine.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.plans import Impossible, Locks
    from engine.analysis import Analysis
    from engine.prediction import Predictor


def board_data(
    analysis: Analysis,
    plans: Sequence[Plan | Impossible],
    locks: Locks,
    state: Mapping[str, Any],
    predictor: Predictor,
    runs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the state that Python holds and its own answer to it, and what predictions rest on.

    Args:
        analysis: whose curves the browser has.
        plans: of every method at the state's budget.
        locks: ranks held by hand.
        state: ``keep``, ``method`` and ``revision``.
        predictor: calibrated on ``runs``.
        runs: measurements on one text.
    """
    inventory = analysis.inventory
    confirmed = {p.method: {"params": p.cost.params, "nats": p.cost.nats} for p in plans if isinstance(p, Plan)}
    return {
        "projections": [[p.name, p.layer, p.kind] for p in inventory.projections],
        "compressible": inventory.compressible_params,
        "total": inventory.total_params,
        "methods": [*presets_json(PRESETS.values()), *(_fixed(p) for p in plans if p.method not in PRESETS)],
        "predictor": predictor.to_json(),
        "measured": [
            {
                "metric": str(run["metric"]),
                "params": run["params"],
                "nats": run["predicted_nats"],
                "perplexity": run["perplexity"],
            }
            for run in runs
        ],
        "state": {**state, "held": dict(locks)},
        "confirmed": confirmed,
    }


def _fixed(plan: Plan | Impossible) -> dict[str, Any]:
    """Return a map that no budget changes as a method."""
    assert isinstance(plan, Plan)
    blocks = [
        {"members": list(block.members), "format": block.format.value, "rank": block.rank}
        for block in plan.rank_map.blocks
    ]
    return {
        "name": plan.method,
        "title": plan.method.capitalize(),
        "metric": plan.rank_map.metric.value,
        "formats": ["low-rank"],
        "fixed": {"blocks": blocks, "params": plan.cost.params, "nats": plan.cost.nats},
    }
