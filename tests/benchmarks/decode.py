"""Time the linear work of one LLaMA-7B layer for one token per sequence: ``python -m tests.benchmarks.decode``.

All seven projections, factored beside dense in the same run, one after the other. The weights are random and far
larger than any cache; the columns of skip are a random permutation, the worst case for the gather.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from engine.compression.layers import FactoredLinear, LowRankInner, NarrowedLinear, SharedInner, SkipInner
from engine.formats import rank_params, uniform_rank
from engine.types import Format

HIDDEN, WIDE = 4096, 11008
GROUPS = ((3, HIDDEN, HIDDEN), (1, HIDDEN, HIDDEN), (2, HIDDEN, WIDE), (1, WIDE, HIDDEN))
"""Projections that read the same input: how many, their input and their output width."""
FORMATS = (Format.LOW_RANK, Format.CAT, Format.SKIP, Format.SKIP_CAT, Format.WIDTH)
DENSE_PARAMS = sum(n * width * out for n, width, out in GROUPS)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

Layer = list[list[nn.Module]]


def filled(rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(rows, columns, dtype=dtype).uniform_(-0.01, 0.01)


def dense_layer(dtype: torch.dtype) -> Layer:
    result: Layer = []
    for n_members, width, out in GROUPS:
        members = [nn.Linear(width, out, bias=False, device="meta") for _ in range(n_members)]
        for member in members:
            member.weight = nn.Parameter(filled(out, width, dtype), requires_grad=False)
        result.append(list(members))
    return result


def inner_factor(storage: Format, rank: int, width: int, dtype: torch.dtype) -> nn.Module:
    if storage.skips:
        return SkipInner(filled(rank, width - rank, dtype), torch.randperm(width))
    return LowRankInner(filled(rank, width, dtype))


def factored_layer(storage: Format, kept: float, dtype: torch.dtype) -> tuple[Layer, int]:
    """Return the modules by input group, and their parameters by the formulas; in width, attention stays dense."""
    if storage is Format.WIDTH:
        return narrow_layer(kept, dtype)
    result: Layer = []
    params = 0
    for n_members, width, out in GROUPS:
        per_block = n_members if storage.is_shared else 1
        rank = uniform_rank(storage, kept, width, per_block * out)
        members: list[nn.Module] = []
        for _ in range(n_members // per_block):
            inner = inner_factor(storage, rank, width, dtype)
            if per_block > 1:
                inner = SharedInner(inner, per_block)
            members += [FactoredLinear(inner, filled(out, rank, dtype), None) for _ in range(per_block)]
            params += rank_params(storage, rank, width, per_block * out)
        result.append(members)
    return result, params


def narrow_layer(kept: float, dtype: torch.dtype) -> tuple[Layer, int]:
    attention = 4 * HIDDEN * HIDDEN
    neurons = (int(kept * DENSE_PARAMS) - attention) // (3 * HIDDEN)
    q_k_v, o = dense_layer(dtype)[:2]
    shapes = [(neurons, HIDDEN), (neurons, HIDDEN), (HIDDEN, neurons)]
    gate, up, down = (NarrowedLinear(filled(rows, columns, dtype), None) for rows, columns in shapes)
    return [q_k_v, o, [gate, up], [down]], attention + 3 * HIDDEN * neurons


def hidden_of(layer: Layer, hidden: torch.Tensor) -> torch.Tensor:
    down = layer[3][0]
    return hidden[..., : down.in_features] if isinstance(down, NarrowedLinear) else hidden


def timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    begun = clock()
    work()
    return clock() - begun


def run(layer: Layer, inputs: list[torch.Tensor]) -> None:
    for members, x in zip(layer, inputs, strict=True):
        for member in members:
            member(x)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--kept", type=float, nargs="+", default=(0.8, 0.6))
    parser.add_argument("--dtypes", nargs="+", default=("float32", "bfloat16"))
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 16))
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on one thread of a machine in use")
    chosen = parser.parse_args()
    clock = CLOCKS[chosen.clock]
    dtypes = [getattr(torch, name) for name in chosen.dtypes]
    torch.manual_seed(0)
    ratios: dict[tuple[Format, float], list[float]] = {}
    dense_ms = []
    kept_exactly = {}
    for dtype in dtypes:
        dense = dense_layer(dtype)
        measured: dict[int, list[float]] = {batch: [] for batch in chosen.batches}
        for kept in chosen.kept:
            for storage in FORMATS:
                layer, params = factored_layer(storage, kept, dtype)
                kept_exactly[storage, kept] = params / DENSE_PARAMS
                for batch in chosen.batches:
                    inputs = [torch.randn(batch, 1, width).to(dtype) for _, width, _ in GROUPS]
                    own = [*inputs[:3], hidden_of(layer, inputs[3])]
                    run(layer, own)
                    pairs = []
                    for _ in range(chosen.repetitions):
                        ours = timed(lambda x=own, m=layer: run(m, x), clock)
                        theirs = timed(lambda x=inputs, m=dense: run(m, x), clock)
                        pairs.append(ours / theirs)
                        measured[batch].append(theirs)
                    ratios.setdefault((storage, kept), []).append(statistics.median(pairs))
        dense_ms += [statistics.median(times) * 1e3 for times in measured.values()]
    heads = [f"{dtype}, batch {batch}" for dtype in chosen.dtypes for batch in chosen.batches]
    sys.stdout.write(f"| format | kept | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}\n")
    for (storage, kept), row in ratios.items():
        cells = " | ".join(f"{ratio:.3f}" for ratio in row)
        sys.stdout.write(f"| {storage} | {kept_exactly[storage, kept]:.4f} | {cells} |\n")
    sys.stdout.write(f"| dense, ms | 1 | {' | '.join(f'{ms:.1f}' for ms in dense_ms)} |\n")


if __name__ == "__main__":
    main()
