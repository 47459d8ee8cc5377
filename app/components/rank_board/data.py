"""What the rank board is told in every run, as plain JSON values; free of Streamlit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.components.rank_board.curves import presets_json
from app.plans import Plan, formats_of
from engine.methods.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from app.plans import Impossible
    from engine.analysis.value import Analysis
    from engine.methods.editing import HeldRanks
    from engine.prediction.power_law import Predictor
    from engine.rank_map.document import RankMap
    from engine.rank_map.named import NamedMap
    from engine.results.texts import MeasuredText
    from engine.types import BlockRank


def board_data(
    analysis: Analysis,
    plans: Sequence[Plan | Impossible],
    locks: HeldRanks,
    state: Mapping[str, Any],
    predictor: Predictor,
    text: MeasuredText | None,
    opened: Plan | None = None,
    saved: Sequence[NamedMap] = (),
) -> dict[str, Any]:
    """Return the state that Python holds and its own answer to it, and what predictions rest on.

    Args:
        analysis: whose curves the browser has.
        plans: of every method for the state.
        locks: ranks held by hand.
        state: as ``app.components.rank_board.state`` returns it.
        predictor: calibrated on ``text``.
        text: on which maps were measured; ``None``: none were.
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
        "measured": [] if text is None else _measured(text, analysis),
        "state": {**state, "held": dict(locks)},
        "confirmed": confirmed,
        "saved": [[named.id, named.name] for named in saved],
        "compared": [_blocks(named.rank_map.blocks) for named in saved if named.id == state["compare"]],
    }


def _measured(text: MeasuredText, analysis: Analysis) -> list[dict[str, Any]]:
    found = ((row, text.of(row)) for row in text.rows)
    return [
        {"params": row.size.params, "content": content_of(row.rank_map, analysis), "perplexity": one.perplexity}
        for row, one in found
        if row.rank_map is not None and one is not None
    ]


def content_of(rank_map: RankMap, analysis: Analysis) -> str:
    """Return what a rank map decides, equal exactly where :func:`engine.rank_map.identity.map_id` is.

    The browser writes the same of its own maps (``contentOf`` in measured.js); projections go by their place in the
    model, because names would be ten times as long.
    """
    places = {name: str(place) for place, name in enumerate(analysis.projections)}
    blocks = (
        f"{'+'.join(places[name] for name in block.members)} {block.format} {block.rank}"
        for block in rank_map.blocks
        if block.rank is not None
    )
    return ";".join([rank_map.metric, *sorted(blocks)])


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
