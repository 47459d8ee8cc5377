"""What the rank board is told in every run, as plain JSON values; free of Streamlit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.components.rank_board.curves import presets_json
from app.plans import Plan, formats_of
from engine.methods.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from app.plans import Impossible, Locks
    from engine.analysis.value import Analysis
    from engine.prediction.power_law import Predictor
    from engine.rank_map.named import NamedMap
    from engine.types import BlockRank


def board_data(
    analysis: Analysis,
    plans: Sequence[Plan | Impossible],
    locks: Locks,
    state: Mapping[str, Any],
    predictor: Predictor,
    runs: Sequence[Mapping[str, Any]],
    opened: Plan | None = None,
    saved: Sequence[NamedMap] = (),
) -> dict[str, Any]:
    """Return the state that Python holds and its own answer to it, and what predictions rest on.

    Args:
        analysis: whose curves the browser has.
        plans: of every method for the state.
        locks: ranks held by hand.
        state: as ``app.components.rank_board.state`` returns it.
        predictor: calibrated on ``runs``.
        runs: measurements on one text.
        opened: the saved map that is open, without the held ranks.
        saved: the maps the active one can be compared with.
    """
    inventory = analysis.inventory
    confirmed = {p.method: {"params": p.cost.params, "nats": p.cost.nats} for p in plans if isinstance(p, Plan)}
    return {
        "projections": [[p.name, p.layer, p.kind] for p in inventory.projections],
        "compressible": inventory.compressible_params,
        "total": inventory.total_params,
        "methods": [*presets_json(PRESETS.values()), *([] if opened is None else [_fixed(opened)])],
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
        "saved": [[named.id, named.name] for named in saved],
        "compared": [_blocks(named.rank_map.blocks) for named in saved if named.id == state["compare"]],
    }


def _fixed(plan: Plan) -> dict[str, Any]:
    """Return a map that no budget changes as a method."""
    return {
        "name": plan.method,
        "title": plan.method.capitalize(),
        "metric": plan.rank_map.metric.value,
        "formats": sorted(formats_of(plan)),
        "fixed": {"blocks": _blocks(plan.rank_map.blocks), "params": plan.cost.params, "nats": plan.cost.nats},
    }


def _blocks(blocks: Iterable[BlockRank]) -> list[dict[str, Any]]:
    return [{"members": list(b.members), "format": b.format.value, "rank": b.rank} for b in blocks]
