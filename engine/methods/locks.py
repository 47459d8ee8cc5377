"""Ranks a user fixes, as they come from a file or a table; free of torch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from engine.errors import InvalidRankMapError, InvalidSpecError
from engine.methods.presets import get_preset
from engine.paths import read_small_file
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from pathlib import Path

    from engine.types import Inventory

_LARGEST_FILE = 5 * 10**6


def parse_formats(text: str) -> frozenset[Format]:
    """Read a comma-separated list of factored formats.

    Raises:
        InvalidSpecError: a name is not a factored format.
    """
    factored = [f for f in Format if f is not Format.DENSE]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in factored:
            raise InvalidSpecError(f"The format {name!r} does not exist; expected some of {', '.join(factored)}.")
    if not names:
        raise InvalidSpecError(f"No format was given; expected some of {', '.join(factored)}.")
    return frozenset(Format(name) for name in names)


def read_locks(
    path: Path, inventory: Inventory, method: str, formats: frozenset[Format] | None
) -> tuple[BlockRank, ...]:
    """Read ``{"projection": rank or "dense", ...}``; a name may join a whole group with ``+``, or an MLP: its width.

    Raises:
        InvalidSpecError: there is no such file, or it cannot be read or is too large.
        InvalidRankMapError: it is not of this form or names no projection.
    """
    expected = (
        'expected a JSON object such as {"model.layers.0.mlp.down_proj": 128}, with a rank or "dense" for each name'
    )
    content = read_small_file(path, "file of held ranks", _LARGEST_FILE, expected)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidRankMapError(f"The file of held ranks {path} is not JSON; {expected}.") from error
    if not isinstance(value, dict):
        raise InvalidRankMapError(f"The file of held ranks {path} has a {type(value).__name__}; {expected}.")
    allowed = formats if formats is not None else get_preset(method).formats
    return tuple(lock_of(name, rank, inventory, allowed) for name, rank in value.items())


def lock_of(name: str, rank: object, inventory: Inventory, formats: frozenset[Format]) -> BlockRank:
    """Return the fixed decision for a projection or a whole group, in the cheapest format allowed, or for an MLP.

    That is its width, the number of neurons it keeps.

    Raises:
        InvalidRankMapError: the name or the rank is not valid.
    """
    members = tuple(name.split("+"))
    mlps = {mlp.name for mlp in inventory.mlps}
    known = {p.name for p in inventory.projections} | {g.name for g in inventory.groups}
    if name not in known | mlps:
        raise InvalidRankMapError(
            f"A rank is held for {name!r}, which is no projection of this model; expected a name such as "
            f"{inventory.projections[0].name}."
        )
    if rank in ("dense", None):
        return BlockRank(members, Format.DENSE, None)
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise InvalidRankMapError(
            f'{name} is held at the rank {rank!r}; expected a whole number of at least 1, or "dense".'
        )
    if name in mlps:
        return BlockRank(members, Format.WIDTH, rank)
    skips = any(f.skips for f in formats) and not any(p.experts for p in inventory.projections if p.name == name)
    if len(members) > 1:
        return BlockRank(members, Format.SKIP_CAT if skips else Format.CAT, rank)
    return BlockRank(members, Format.SKIP if skips else Format.LOW_RANK, rank)
