"""How long a token takes and what it needs, from bytes that are read and products that are computed; free of torch.

A token reads every weight once and multiplies it once for every sequence. Each block takes as long as the slower of the
two, and each of its operations a little however small it is: that is why factors, which are two products in place of
one, make a small model slower.

References:
    Williams, Waterman and Patterson, Roofline, Communications of the ACM 52 (2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.formats import block_params
from engine.precision import STORED_AS, block_bytes, model_bytes
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from engine.devices.value import Device
    from engine.types import Inventory, Projection

OTHER_KERNELS: Final = 15
"""Operations of a layer beside its projections: norms, rotary positions, attention, activation and sums, about."""
CACHE_BYTES: Final = 2
"""Of a key or value in the cache."""
NOTICEABLE: Final = 0.03
"""A predicted change below this is none."""


@dataclass(frozen=True, slots=True)
class TokenForecast:
    """One model on one device.

    Attributes:
        step_s: seconds in which every sequence gets a token.
        weight_bytes: of the whole model.
        cache_bytes_per_token: keys and values of one token; ``None``: which projections they come from is not known.
        cache_bytes: of all sequences at the context; 0 where it is not known.
        fits: whether weights and cache fit the device's memory.
    """

    step_s: float
    weight_bytes: int
    cache_bytes_per_token: int | None
    cache_bytes: int
    fits: bool


def forecast(
    blocks: Sequence[BlockRank], inventory: Inventory, device: Device, *, dtype: str, batch: int, context: int
) -> TokenForecast:
    """Return what a token costs under decisions; none are the dense model.

    Args:
        blocks: decisions; projections in none of them are dense.
        inventory: of the dense model.
        device: it would run on, with kernels for the type.
        dtype: of the weights that have no bits of their own.
        batch: sequences at once.
        context: tokens of each that are cached.
    """
    projections, cache = inventory.by_name, cache_bytes_per_token(inventory)
    seconds = rest_seconds(inventory, device, dtype=dtype, batch=batch, context=context)
    for block in every_block(blocks, inventory):
        stored = dtype if block.bits is None else STORED_AS[block.bits]
        n_bytes, n_products = block_bytes(block, stored, projections), block_params(block, projections) * batch
        shares = active_shares(projections[block.members[0]], batch)
        kernels = n_kernels(block.format, len(block.members))
        seconds += float(seconds_of(n_bytes * shares[0], n_products * shares[1], kernels, device))
    cached = (cache or 0) * context * batch
    weights = model_bytes(dtype, blocks, inventory)
    return TokenForecast(seconds, weights, cache, cached, weights + cached <= device.memory_bytes)


def rest_seconds(inventory: Inventory, device: Device, *, dtype: str, batch: int, context: int) -> float:
    """Return what a token takes beside the projections, which no rank map changes: head, cache and small operations."""
    head = head_params(inventory)
    of_head = float(seconds_of(head * (4 if dtype == "float32" else 2), head * batch, 1, device))
    cached = (cache_bytes_per_token(inventory) or 0) * context * batch
    return inventory.n_layers * OTHER_KERNELS * device.kernel_s + of_head + cached / device.bytes_per_s


def head_params(inventory: Inventory) -> int:
    """Return the parameters of the head, about: the largest weight that is never compressed."""
    return max((weight.params for weight in inventory.skipped), default=0)


def active_shares(projection: Projection, batch: int) -> tuple[float, float]:
    """Return which part of a block's bytes is read for a token of every sequence, and of its products is computed.

    Of experts no more are read than the tokens are given to; sequences rarely choose the same.
    """
    return min(projection.active_fraction * batch, 1.0), projection.active_fraction


def seconds_of(n_bytes: Any, n_products: Any, kernels: int, device: Device) -> Any:
    """Return the seconds of a block, or of an array of what it may be: the slower of reading and multiplying.

    Args:
        n_bytes: of weights, each read once.
        n_products: multiply-adds.
        kernels: operations it consists of.
        device: it runs on.
    """
    slower = np.maximum(n_bytes / device.bytes_per_s, n_products / device.multiply_adds_per_s)
    return slower + kernels * device.kernel_s


def every_block(blocks: Sequence[BlockRank], inventory: Inventory) -> Iterator[BlockRank]:
    """Yield all blocks of a model, those that no decision names dense."""
    yield from blocks
    decided = {name for block in blocks for name in block.members}
    yield from (BlockRank((name,), Format.DENSE, None) for name in inventory.by_name if name not in decided)


def n_kernels(storage: Format, n_members: int) -> int:
    """Return how many operations a block is: a shared inner factor is one, and skip gathers columns and adds."""
    if storage in (Format.DENSE, Format.WIDTH):
        return n_members
    return n_members + (3 if storage.skips else 1)


def cache_bytes_per_token(inventory: Inventory) -> int | None:
    """Return the bytes of one token's keys and values at 16 bits, where there are projections of these kinds."""
    kinds = [[p.out_features for p in inventory.projections if p.kind == kind] for kind in ("k", "v")]
    return sum(map(sum, kinds)) * CACHE_BYTES if all(kinds) else None


def answer(dense: TokenForecast, compressed: TokenForecast, device: Device) -> str:
    """Say whether a compressed model would be faster than the dense one."""
    ratio = compressed.step_s / dense.step_s
    if compressed.fits and not dense.fits:
        return f"It fits {device.title}, where the dense model does not."
    if not compressed.fits:
        return f"It does not fit {device.title}: weights and cache are larger than its memory."
    if ratio < 1 - NOTICEABLE:
        return f"It will be faster on {device.title}: {ratio:.2f} × the time of the dense model for a token."
    if ratio <= 1 + NOTICEABLE:
        return f"It will be about as fast on {device.title}: {ratio:.2f} × the time of the dense model for a token."
    return (
        f"It will be slower on {device.title}: {ratio:.2f} × the time of the dense model for a token, because factors "
        "are more and smaller operations; widths are not."
    )
