"""Factors of one layer on disk, read block by block."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cache import Key, write_arrays, write_json
from engine.factorization.blocks import Factors
from engine.types import Metric, block_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cache import Artifact, Store
    from engine.analysis import Analysis


def write_factors(folder: Path, factors: Sequence[Factors]) -> None:
    """Write factors.safetensors, spectrum.safetensors and blocks.json."""
    tensors, arrays, blocks = {}, {}, {}
    for block in factors:
        name = block_name(block.members)
        tensors[f"basis/{name}"] = block.basis.cpu()
        tensors[f"dual/{name}"] = block.dual.cpu()
        if block.offset is not None:
            tensors[f"offset/{name}"] = block.offset.cpu()
        arrays[f"energies/{name}"] = block.energies.cpu().numpy()
        arrays[f"nats/{name}"] = block.nats.cpu().numpy()
        blocks[name] = {"damping": block.damping, "on_output_side": block.on_output_side}
    save_file(tensors, folder / "factors.safetensors")
    write_arrays(folder / "spectrum.safetensors", arrays)
    write_json(folder / "blocks.json", blocks)


def read_block(artifact: Artifact, members: tuple[str, ...]) -> Factors:
    """Read one block's factors, and nothing else of the file that holds the layer's."""
    name = block_name(members)
    block = artifact.json("blocks.json")[name]
    arrays = artifact.arrays("spectrum.safetensors")
    with safe_open(artifact.path("factors.safetensors"), framework="pt") as file:
        offset = file.get_tensor(f"offset/{name}") if f"offset/{name}" in file.keys() else None  # noqa: SIM118
        return Factors(
            members,
            block["on_output_side"],
            file.get_tensor(f"basis/{name}"),
            file.get_tensor(f"dual/{name}"),
            torch.from_numpy(arrays[f"energies/{name}"]),
            torch.from_numpy(arrays[f"nats/{name}"]),
            offset,
            block["damping"],
        )


def factors_reader(analysis: Analysis, store: Store, metric: Metric) -> Callable[[tuple[str, ...]], Factors]:
    """Return a function from member names to the stored factors in ``metric``.

    Raises:
        RankScopeError: the analysis stored none in this metric.
    """
    analysis.require_factors(metric)
    layers = sorted({group.layer for group in analysis.inventory.groups})
    keys = dict(zip(layers, analysis.about["factors"][metric], strict=True))

    @lru_cache(maxsize=4)
    def artifact(layer: int) -> Artifact:
        return store.read(Key("factors", keys[layer]))

    def read(members: tuple[str, ...]) -> Factors:
        return read_block(artifact(analysis.projections[members[0]].layer), members)

    return read
