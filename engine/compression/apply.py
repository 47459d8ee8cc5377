"""Apply a rank map to a model: slices of stored factors, no decomposition."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

from engine.compression.layers import LowRankInner, NarrowedLinear, SkipInner, factored_group
from engine.factorization.blocks import Factors
from engine.factorization.neurons import Neurons
from engine.factorization.parallel import single_threaded_workers
from engine.factorization.skip import skip_at_rank, to_skip
from engine.model.experts import ExpertStack, FactoredStack
from engine.model.mlps import rows_of_neurons
from engine.model.module import device_of, weight_matrix
from engine.model.stacks import put_stacks_

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence

    from engine.compression.layers import FactoredLinear
    from engine.types import BlockRank, Format

    Parts = MutableMapping[tuple[tuple[str, ...], Format, int | None, str], nn.Module]


class BlockFactors(Protocol):
    """What a block of any rank is sliced from."""

    @property
    def offset(self) -> torch.Tensor | None:
        """The (in,) mean input around which the metric is centred, if it is."""

    def at_rank(self, rank: int, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return left (D, rank) and right (rank, in), given the stacked weight (D, in)."""
        ...


def compress(
    module: nn.Module,
    blocks: Sequence[BlockRank],
    factors_of: Callable[[tuple[str, ...]], BlockFactors | Neurons],
    known: Parts | None = None,
) -> nn.Module:
    """Return a model in which ``blocks`` run at their ranks; everything untouched is shared with ``module``.

    Args:
        module: the dense model; it is not changed.
        blocks: checked decisions; dense ones and projections not mentioned stay as they are.
        factors_of: member names -> the stored factors of that block.
        known: members, format, rank and projection -> what stands there in a model made from the same factors, to be
            shared with it; what is made is added.
    """
    decided = {block.members: block for block in blocks if block.rank is not None}
    known = {} if known is None else known

    def replacements(members: tuple[str, ...], linears: Sequence[nn.Module]) -> Sequence[nn.Module]:
        block = decided[members]
        places = [(members, block.format, block.rank, name) for name in members]
        found = [part for part in map(known.get, places) if part is not None]
        if len(found) < len(members):
            found = list(compressed_modules(linears, block, factors_of(members)))
            known.update(zip(places, found, strict=True))
        return found

    return with_replacements(module, list(decided), replacements)


def compressed_modules(
    linears: Sequence[nn.Module], block: BlockRank, factors: BlockFactors | Neurons
) -> Sequence[nn.Module]:
    """Return the replacements of the linear modules of one block, in order."""
    assert block.rank is not None
    if isinstance(factors, Neurons):
        return narrowed_modules(linears, block.rank, factors)
    if isinstance(linears[0], ExpertStack):
        return [factored_stack(linears[0], block.rank, factors)]
    return factored_modules(linears, block, factors)


@torch.no_grad()
def narrowed_modules(linears: Sequence[nn.Module], count: int, neurons: Neurons) -> list[NarrowedLinear]:
    """Return the linear modules of an MLP with ``count`` neurons, ``down`` last."""
    *ups, down = linears
    weight = weight_matrix(down)
    whole = weight.float()
    bias: torch.Tensor | None = getattr(down, "bias", None)
    shift = neurons.shift(count, whole)
    if bias is not None and shift is not None:
        bias = (bias.float() + shift).to(weight)
    narrow = NarrowedLinear(neurons.down(count, whole).to(weight).contiguous(), None if bias is None else bias.detach())
    return [*(_narrowed_up(up, neurons.kept(count), whole.shape[1]) for up in ups), narrow]


def _narrowed_up(linear: nn.Module, kept: torch.Tensor, n_neurons: int) -> NarrowedLinear:
    rows = rows_of_neurons(linear, kept, n_neurons)
    bias: torch.Tensor | None = getattr(linear, "bias", None)
    return NarrowedLinear(weight_matrix(linear).detach()[rows], None if bias is None else bias.detach()[rows])


def with_replacements(
    module: nn.Module,
    blocks: Sequence[tuple[str, ...]],
    replacements: Callable[[tuple[str, ...], Sequence[nn.Module]], Sequence[nn.Module]],
) -> nn.Module:
    """Return a model in which the members of every block are replaced; the rest is shared with ``module``.

    Args:
        module: the dense model; it is not changed.
        blocks: names of the linear modules of every block.
        replacements: member names and their modules -> what stands in their places, in the same order.
    """
    shared_tensors = {id(t): t for t in (*module.parameters(), *module.buffers())}
    replaced = copy.deepcopy(module, shared_tensors)
    put_stacks_(replaced, (name for members in blocks for name in members))
    modules = dict(replaced.named_modules())

    def parts_of(members: tuple[str, ...]) -> Sequence[nn.Module]:
        return replacements(members, [modules[name] for name in members])

    with single_threaded_workers(device_of(module)) as pool:
        for members, parts in zip(blocks, pool.map(parts_of, blocks), strict=True):
            for name, part in zip(members, parts, strict=True):
                parent, _, last = name.rpartition(".")
                setattr(modules[parent], last, part)
    return replaced


@torch.no_grad()
def factored_modules(linears: Sequence[nn.Module], block: BlockRank, factors: BlockFactors) -> list[FactoredLinear]:
    """Return the replacements of the linear modules of one block, in order."""
    assert block.rank is not None
    weights = [weight_matrix(linear) for linear in linears]
    target = weights[0]
    stacked = torch.cat(weights).float() if len(weights) > 1 else target.float()
    inner: nn.Module
    if block.format.skips:
        dtype = torch.float64 if target.itemsize > 2 else torch.float32
        if isinstance(factors, Factors):
            skip = skip_at_rank(factors, block.rank, stacked, dtype)
        else:
            skip = to_skip(*factors.at_rank(block.rank, stacked), block.name, dtype)
        left = skip.left
        inner = SkipInner(skip.mix.to(target), skip.columns.to(target.device))
    else:
        left, right = balanced(*factors.at_rank(block.rank, stacked))
        inner = LowRankInner(right.to(target).contiguous())
    shift = None
    if factors.offset is not None:
        offset = factors.offset.to(stacked)
        truncated = skip(offset) if block.format.skips else left @ (right @ offset)
        shift = stacked @ offset - truncated
    lefts: list[torch.Tensor] = []
    biases: list[torch.Tensor | None] = []
    start = 0
    for linear, weight in zip(linears, weights, strict=True):
        rows = slice(start, start + len(weight))
        bias: torch.Tensor | None = getattr(linear, "bias", None)
        if shift is not None:
            bias = (shift[rows] if bias is None else bias.float() + shift[rows]).to(target)
        lefts.append(left[rows].to(target).contiguous())
        biases.append(None if bias is None else bias.detach())
        start = rows.stop
    return factored_group(inner, lefts, biases)


@torch.no_grad()
def factored_stack(stack: ExpertStack, rank: int, factors: BlockFactors) -> FactoredStack:
    """Return a stack of experts at a rank."""
    left, right = balanced(*factors.at_rank(rank, stack.weight.float()))
    return FactoredStack(left.to(stack.weight).contiguous(), right.to(stack.weight).contiguous())


def balanced(left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bring the rows of ``right`` (..., r, in) to a norm between 1/2 and 1 and give ``left`` (..., D, r) the rest.

    Whitened factors span many orders of magnitude, more than float16 holds. The scales are powers of two, so
    that no bit of the product changes.
    """
    norms = torch.linalg.vector_norm(right, dim=-1)
    scales = torch.ones_like(norms).ldexp(norms.frexp().exponent)
    return left * scales[..., None, :], right / scales[..., None]
