"""Factors of one layer on disk, read block by block."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cache import Key, write_arrays, write_json
from engine.factorization.blocks import Factors
from engine.factorization.neurons import Neurons, fold_triangle, unfold_triangle
from engine.types import Metric, block_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from cache import Artifact, Store
    from engine.analysis.value import Analysis

_CPU = torch.device("cpu")
_OPEN_LAYERS = 2


def write_factors(
    folder: Path, factors: Sequence[Factors], neurons: Sequence[Neurons] = (), *, half: bool = False
) -> None:
    """Write factors.safetensors, spectrum.safetensors and blocks.json; the dual of an orthonormal basis is left out.

    Args:
        folder: there.
        factors: of blocks.
        neurons: of MLPs.
        half: matrices in bfloat16, whose range is that of float32, which whitened factors need; offsets, orders and
            curves stay as they are.
    """
    dtype = torch.bfloat16 if half else torch.float32
    tensors: dict[str, torch.Tensor] = {}
    arrays: dict[str, NDArray[np.float64]] = {}
    blocks: dict[str, dict[str, object]] = {}
    for block in factors:
        name = block_name(block.members)
        tensors[f"basis/{name}"] = block.basis.to(dtype).cpu()
        if not torch.equal(block.dual, block.basis.mT):
            tensors[f"dual/{name}"] = block.dual.to(dtype).cpu()
        if block.offset is not None:
            tensors[f"offset/{name}"] = block.offset.cpu()
        arrays[f"energies/{name}"] = block.energies.cpu().numpy()
        arrays[f"nats/{name}"] = block.nats.cpu().numpy()
        blocks[name] = {"damping": block.damping, "on_output_side": block.on_output_side}
    for mlp in neurons:
        name = block_name(mlp.members)
        tensors[f"order/{name}"] = mlp.order.to(torch.int32).cpu()
        tensors[f"triangle/{name}"] = fold_triangle(mlp.factor).to(dtype).cpu()
        if mlp.offset is not None:
            tensors[f"offset/{name}"] = mlp.offset.cpu()
        arrays[f"nats/{name}"] = mlp.nats.cpu().numpy()
        blocks[name] = {"damping": mlp.damping}
    save_file(tensors, folder / "factors.safetensors")
    write_arrays(folder / "spectrum.safetensors", arrays)
    write_json(folder / "blocks.json", blocks)


class _LayerFile:
    """One layer's factors, opened once and read block by block."""

    def __init__(self, artifact: Artifact, device: torch.device) -> None:
        self._tensors = safe_open(artifact.path("factors.safetensors"), framework="pt", device=str(device))
        self._names = frozenset(self._tensors.keys())
        self._arrays = artifact.arrays("spectrum.safetensors")
        self._blocks = artifact.json("blocks.json")

    def block(self, members: tuple[str, ...]) -> Factors | Neurons:
        name = block_name(members)
        if f"order/{name}" in self._names:
            return self._neurons(members)
        basis = self._matrix(f"basis/{name}")
        dual, offset = f"dual/{name}", f"offset/{name}"
        return Factors(
            members,
            self._blocks[name]["on_output_side"],
            basis,
            self._matrix(dual) if dual in self._names else basis.mT.contiguous(),
            torch.from_numpy(self._arrays[f"energies/{name}"]),
            torch.from_numpy(self._arrays[f"nats/{name}"]),
            self._tensors.get_tensor(offset) if offset in self._names else None,
            self._blocks[name]["damping"],
        )

    def _matrix(self, name: str) -> torch.Tensor:
        """Return a matrix in float32, however it is stored."""
        stored: torch.Tensor = self._tensors.get_tensor(name)
        return stored.float()

    def _neurons(self, members: tuple[str, ...]) -> Neurons:
        name = block_name(members)
        order, offset = self._tensors.get_tensor(f"order/{name}").long(), f"offset/{name}"
        return Neurons(
            members,
            order,
            unfold_triangle(self._matrix(f"triangle/{name}"), len(order)),
            torch.from_numpy(self._arrays[f"nats/{name}"]),
            self._tensors.get_tensor(offset) if offset in self._names else None,
            self._blocks[name]["damping"],
        )


def factors_reader(
    analysis: Analysis, store: Store, metric: Metric, device: torch.device = _CPU
) -> Callable[[tuple[str, ...]], Factors | Neurons]:
    """Return a function from member names to the stored factors in ``metric``, or to the neurons of an MLP.

    Args:
        analysis: whose factors.
        store: where they are.
        metric: in which they were taken.
        device: where their matrices are read to: that of the weights they are multiplied with.

    Raises:
        RankScopeError: the analysis stored none in this metric.
    """
    analysis.require_factors(metric)
    layers = sorted({group.layer for group in analysis.inventory.groups})
    keys = dict(zip(layers, analysis.about["factors"][metric], strict=True))

    # What was read of an open file counts as memory of this process, and blocks come layer by layer.
    @lru_cache(maxsize=_OPEN_LAYERS)
    def opened(layer: int) -> _LayerFile:
        return _LayerFile(store.read(Key("factors", keys[layer])), device)

    return lambda members: opened(analysis.projections[members[0]].layer).block(members)


def rank_factors_reader(
    analysis: Analysis, store: Store, metric: Metric, device: torch.device = _CPU
) -> Callable[[tuple[str, ...]], Factors]:
    """Return :func:`factors_reader` for blocks that are stored at a rank.

    Raises:
        RankScopeError: the analysis stored none in this metric.
    """
    stored = factors_reader(analysis, store, metric, device)

    def of_block(members: tuple[str, ...]) -> Factors:
        factors = stored(members)
        assert isinstance(factors, Factors)
        return factors

    return of_block
