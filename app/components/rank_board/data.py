"""What the rank board is sent in every run; free of Streamlit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from app.components.rank_board.curves import presets_json
from app.costed_maps import CostedMap, NoMap, formats_of
from engine.allocation import FEWEST_STEPS, LARGEST_STEP, LEAST_WEIGHT, MEASURED_REACH, MOST_BRIDGED
from engine.devices.roofline import NOTICEABLE, OTHER_KERNELS, cache_bytes_per_token, head_params
from engine.devices.value import presets
from engine.formats import INDEX_BYTES
from engine.methods.byte_budget import METHOD as BYTES_METHOD
from engine.methods.cost import rounding_nats
from engine.methods.presets import PRESETS
from engine.precision import STORED_AS, number_type
from engine.prediction.runs import predictor_on
from engine.rank_map.ceiling import USUAL_CONTEXT
from engine.rank_map.drafts import AskedTime, MapRequest
from engine.results.glossary import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from engine.analysis.value import Analysis
    from engine.devices.value import Device
    from engine.methods.editing import HeldRanks
    from engine.rank_map.document import RankMap
    from engine.rank_map.named import NamedMap
    from engine.results.rows import PerplexityResult
    from engine.results.texts import MeasuredText
    from engine.types import BlockRank

LOWEST_KEEP: Final = 0.1
"""The smallest kept fraction that can be chosen."""

DTYPES: Final = ("float16", "float32", "int8", "int4")
"""Number types that sizes are given for."""

CHOSEN_BITS: Final = "chosen"
"""In the place of a number type: bits are chosen for every block, and a kept fraction is one of 16-bit bytes."""

CONSTANTS: Final = {
    "least_weight": LEAST_WEIGHT,
    "most_bridged": MOST_BRIDGED,
    "fewest_steps": FEWEST_STEPS,
    "largest_step": LARGEST_STEP,
    "index_bytes": INDEX_BYTES,
    "number_types": {dtype: number_type(dtype) for dtype in DTYPES} | {CHOSEN_BITS: number_type(DTYPES[0])},
    "chosen_bits": {"dtype": CHOSEN_BITS, "method": BYTES_METHOD},
    "usual_dtype": DTYPES[0],
    "noticeable": NOTICEABLE,
    "stored_as": {str(bits): dtype for bits, dtype in STORED_AS.items()},
    "lowest_keep": LOWEST_KEEP,
    "measured_reach": MEASURED_REACH,
}
"""What Python and the browser calculate with."""


@dataclass(frozen=True, slots=True)
class BoardState:
    """What the board shows.

    Attributes:
        keep: kept fraction of the compressible parameters.
        target: predicted perplexity that sets the size instead of ``keep``; ``None``: ``keep`` does.
        time: predicted time that sets it instead of both.
        method: whose map is shown.
        dtype: number type that sizes are given for, or :data:`CHOSEN_BITS`.
        held: ranks held by hand.
        base: what the maps were made for when rebalancing was switched off; ``None``: it is on.
        compare: the method or saved map that the active map is compared with.
        revision: of the newest report that Python has taken over.
    """

    keep: float = 0.8
    target: float | None = None
    time: AskedTime | None = None
    method: str = "water-filling"
    dtype: str = "float16"
    held: HeldRanks = ()
    base: MapRequest | None = None
    compare: str | None = None
    revision: int = 0

    @property
    def chooses_bits(self) -> bool:
        """Whether the bits of every block are chosen."""
        return self.dtype == CHOSEN_BITS

    @property
    def size_dtype(self) -> str:
        """The number type of whatever has no bits of its own."""
        return DTYPES[0] if self.chooses_bits else self.dtype

    @property
    def request(self) -> MapRequest:
        """What every method is asked for; without rebalancing what it was asked for before."""
        return self.base or MapRequest(self.keep, self.target, self.held, self.time)

    def to_json(self) -> dict[str, object]:
        """Return the state as the browser reads it."""
        base = None if self.base is None else {**asdict(self.base), "held": dict(self.base.held)}
        return {**asdict(self), "held": dict(self.held), "base": base}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardInput:
    """The state that Python holds, its own answer to it, and what the browser answers with.

    Attributes:
        analysis: whose curves the browser has.
        curves: name that the browser knows them by.
        state: what the board shows.
        maps: Python's own, of every method for the state, then the open saved map.
        opened: the open saved map without the held ranks.
        opened_name: what the open saved map is called.
        saved: the maps the active one can be compared with.
        searched: from :func:`app.components.rank_board.curves.evaluated_json`.
        text: on which maps were measured and predictions are calibrated; ``None``: no map was measured.
        devices: that speeds are predicted for, by name.
        dense_perplexity: of the dense model on the text that predictions are given for.
        basis: what predictions rest on, as a sentence.
    """

    analysis: Analysis
    curves: str
    state: BoardState
    maps: Sequence[CostedMap | NoMap] = ()
    opened: CostedMap | None = None
    opened_name: str = ""
    saved: Sequence[NamedMap] = ()
    searched: Sequence[dict[str, object]] = ()
    text: MeasuredText | None = None
    devices: Mapping[str, Device] = field(default_factory=presets)
    dense_perplexity: float
    basis: str

    def to_json(self) -> dict[str, object]:
        """Return the input as plain JSON values."""
        inventory, opened = self.analysis.inventory, self.opened
        possible = [costed for costed in self.maps if isinstance(costed, CostedMap)]
        return {
            "constants": CONSTANTS,
            "curves": self.curves,
            "projections": [[p.name, p.layer, p.kind, p.active_fraction] for p in inventory.projections],
            "compressible": inventory.compressible_params,
            "total": inventory.total_params,
            "meanings": {name.value: meaning for name, meaning in FORMATS.items()},
            "methods": [
                *presets_json(PRESETS.values()),
                *([] if opened is None else [fixed_map(opened, self.opened_name, self.analysis)]),
            ],
            "evaluated": list(self.searched),
            "predictor": predictor_on(self.text).to_json(),
            "dense_perplexity": self.dense_perplexity,
            "basis": self.basis,
            "measured": [] if self.text is None else _measured(self.text, self.analysis),
            "state": self.state.to_json(),
            "answered": self._answered(),
            "devices": devices_json(self.devices),
            "token": token_json(self.analysis),
            "confirmed": {p.method: {"params": p.cost.params, "nats": p.cost.nats} for p in possible},
            "saved": [[named.id, named.name] for named in self.saved],
            "compared": [_blocks(n.rank_map.blocks) for n in self.saved if n.id == self.state.compare],
        }

    def _answered(self) -> dict[str, object]:
        """Return by method the maps that only Python makes, or why there is none."""
        of_all = self.state.request.time is not None
        return {
            one.method: {"reason": one.reason} if isinstance(one, NoMap) else {"plan": _plan(one, self.analysis)}
            for one in self.maps
            if (of_all and one.method in PRESETS) or (self.state.chooses_bits and one.method == BYTES_METHOD)
        }


def devices_json(devices: Mapping[str, Device]) -> list[dict[str, object]]:
    """Return devices as the browser predicts times with them."""
    return [
        {
            "name": name,
            "title": device.title,
            "memory_bytes": device.memory_bytes,
            "bytes_per_s": device.bytes_per_s,
            "multiply_adds_per_s": device.multiply_adds_per_s,
            "kernel_s": device.kernel_s,
        }
        for name, device in devices.items()
    ]


def token_json(analysis: Analysis) -> dict[str, int]:
    """Return what a token of a model takes beside its projections, as the browser predicts times with it."""
    inventory = analysis.inventory
    return {
        "layers": inventory.n_layers,
        "head": head_params(inventory),
        "cache": cache_bytes_per_token(inventory) or 0,
        "context": USUAL_CONTEXT,
        "other_kernels": OTHER_KERNELS,
    }


def _measured(text: MeasuredText, analysis: Analysis) -> list[dict[str, object]]:
    measured = ((row, text.of(row)) for row in text.rows)
    return [
        {
            "params": row.size.params,
            "content": content_of(row.rank_map, analysis),
            "perplexity": one.perplexity,
            "predicted": _without_itself(one),
        }
        for row, one in measured
        if row.rank_map is not None and one is not None
    ]


def _without_itself(one: PerplexityResult) -> list[float] | None:
    """Return the perplexity that was predicted without this measurement, and the ends of its interval."""
    predicted = one.prediction
    return None if predicted is None else [predicted.perplexity, predicted.low, predicted.high]


def content_of(rank_map: RankMap, analysis: Analysis) -> str:
    """Return what a rank map decides, equal exactly where :func:`engine.rank_map.identity.map_id` is.

    The browser writes the same of its own maps (``contentOf`` in measured.js); projections go by their place in the
    model, because names would be ten times as long.
    """
    places = {name: str(place) for place, name in enumerate(analysis.projections)}
    blocks = (
        f"{'+'.join(places[name] for name in block.members)} {block.format} {block.rank}"
        + (f" {block.bits}" if block.is_rounded else "")
        for block in rank_map.blocks
        if block.rank is not None or block.is_rounded
    )
    return ";".join([rank_map.metric, *sorted(blocks)])


def fixed_map(costed: CostedMap, name: str, analysis: Analysis) -> dict[str, object]:
    """Return a map that no budget changes as a method."""
    return {
        "name": costed.method,
        "title": name or costed.method.capitalize(),
        "metric": costed.rank_map.metric.value,
        "formats": sorted(formats_of(costed)),
        "fixed": _plan(costed, analysis),
    }


def _plan(costed: CostedMap, analysis: Analysis) -> dict[str, object]:
    blocks = _blocks(costed.rank_map.blocks)
    for sent, block in zip(blocks, costed.rank_map.blocks, strict=True):
        if block.is_rounded and (added := rounding_nats(analysis, block, costed.rank_map.metric)):
            sent["rounding"] = added
    return {"blocks": blocks, "params": costed.cost.params, "nats": costed.cost.nats}


def _blocks(blocks: Iterable[BlockRank]) -> list[dict[str, object]]:
    return [
        {"members": list(b.members), "format": b.format.value, "rank": b.rank, **({"bits": b.bits} if b.bits else {})}
        for b in blocks
    ]
