"""Which projections can be compressed, and which matter, as sentences; free of Streamlit and pandas."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final, TypeVar

from engine.results.words import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Group = TypeVar("Group", str, int)

_NEAR: Final = 0.2
"""Of the range between the lowest and the highest kind: what is this close to an end is named with it."""

_FAR_BELOW: Final = 0.5
"""Of the median of its kind: a projection below that stands out."""

_MOST_NAMED: Final = 4


def compressible_in_words(title: str, kinds: Sequence[str], blocks: Sequence[str], shares: Sequence[float]) -> str:
    """Return which kinds have the lowest and the highest share of their rank, and who is far below its kind.

    Args:
        title: of what is shared, such as ``effective rank``.
        kinds: of every projection.
        blocks: what each is called.
        shares: of full rank, which each needs.
    """
    by_kind = _by(kinds, shares)
    middles = {kind: median(values) for kind, values in by_kind.items()}
    low, high = _ends(middles)
    said = f"**Most compressible: {_joined(low)}**, whose {title} is {_between(middles[kind] for kind in low)} of full "
    said += "rank (median over the layers)."
    if high:
        said += f" Least: {_joined(high)}, {_between(middles[kind] for kind in high)}."
    ratios = sorted(
        (share / middles[kind], block, share)
        for kind, block, share in zip(kinds, blocks, shares, strict=True)
        if middles[kind] > 0
    )
    far = [f"{block} ({percent(share)})" for ratio, block, share in ratios if ratio < _FAR_BELOW]
    if far:
        more = f" and {len(far) - _MOST_NAMED} more" if len(far) > _MOST_NAMED else ""
        said += f" Far below the rest of their kind: {', '.join(far[:_MOST_NAMED])}{more}."
    return said


def costly_in_words(
    kinds: Sequence[str], layers: Sequence[int], blocks: Sequence[str], nats: Sequence[float], freed_mb: Sequence[float]
) -> str:
    """Return which kinds are cheapest and dearest to cut for what that frees, and what costs most of all.

    Args:
        kinds: of every projection.
        layers: the same.
        blocks: what each is called.
        nats: per token, that cutting each alone costs.
        freed_mb: by that cut.
    """
    cost, size = _by(kinds, nats), _by(kinds, freed_mb)
    per_mb = {kind: sum(cost[kind]) / sum(size[kind]) for kind in cost if sum(size[kind]) > 0}
    if not per_mb:
        return "Nothing is freed by this cut."
    order = sorted(per_mb, key=per_mb.__getitem__)
    cheapest = order[:2] if len(order) > 2 else order[:1]
    said = f"**Cheapest to cut: {_joined(cheapest)}**, {_nats(map(per_mb.__getitem__, cheapest))} nats per MB freed."
    if len(order) > 1:
        said += f" Dearest: {order[-1]}, {per_mb[order[-1]]:.2g}."
    total = sum(max(value, 0.0) for value in nats)
    if total > 0:
        by_layer = {layer: sum(max(v, 0.0) for v in values) / total for layer, values in _by(layers, nats).items()}
        most, least = max(by_layer, key=by_layer.__getitem__), min(by_layer, key=by_layer.__getitem__)
        dearest = sorted(zip(nats, blocks, strict=True), reverse=True)[:_MOST_NAMED]
        named = ", ".join(f"{block} ({percent(value / total)})" for value, block in dearest)
        said += f" Of all nats, layer {most} has most ({percent(by_layer[most])}), layer {least} least "
        said += f"({percent(by_layer[least])}); of single projections {named}."
    return said


def _by(groups: Sequence[Group], values: Sequence[float]) -> dict[Group, list[float]]:
    found: dict[Group, list[float]] = {}
    for group, value in zip(groups, values, strict=True):
        found.setdefault(group, []).append(value)
    return found


def _ends(middles: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Return the kinds near the lowest and near the highest, from the end inwards; one kind is near both."""
    order = sorted(middles, key=middles.__getitem__)
    lowest, highest = middles[order[0]], middles[order[-1]]
    near = _NEAR * (highest - lowest)
    low = [kind for kind in order if middles[kind] <= lowest + near]
    high = [kind for kind in reversed(order) if middles[kind] >= highest - near and kind not in low]
    return low, high


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _between(shares: Iterable[float]) -> str:
    known = sorted(shares)
    first, last = percent(known[0], 0), percent(known[-1], 0)
    return first if first == last else f"{first} to {last}"


def _nats(values: Iterable[float]) -> str:
    known = [f"{value:.2g}" for value in sorted(values)]
    return known[0] if known[0] == known[-1] else f"{known[0]} to {known[-1]}"
