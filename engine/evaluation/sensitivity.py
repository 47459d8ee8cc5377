"""Measured sensitivity: the loss increase when one projection alone is truncated.

Hidden states below the truncated layer are those of the dense model, so they are kept, and a truncation in
layer l runs layers l and above only.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from engine.compression.apply import compressed_modules
from engine.formats import max_useful_rank, uniform_rank
from engine.model.head import Head, standing_in
from engine.model.module import decoder_layers, device_of
from engine.model.stacks import stacks_as_modules
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.factorization.blocks import Factors
    from engine.progress import Report
    from engine.types import Inventory, Projection


@torch.no_grad()
def measure_sensitivity(
    module: nn.Module,
    inventory: Inventory,
    tokens: torch.Tensor,
    factors_of: Callable[[tuple[str, ...]], Factors],
    kept_fraction: float,
    report: Report,
    *,
    compute_dtype: str = "float32",
) -> dict[str, float]:
    """Return, for every projection, the increase of the mean NLL (nats per token) when it alone is cut.

    Args:
        module: the dense model.
        inventory: of that model.
        tokens: (n_sequences, length), run as one batch.
        factors_of: member names -> stored factors.
        kept_fraction: of the projection's own parameters, in low-rank format.
        report: told after every projection.
        compute_dtype: autocast type of the passes.
    """
    layers = decoder_layers(module)
    batch = tokens.to(device_of(module))
    dtype = getattr(torch, compute_dtype)
    increases: dict[str, float] = {}

    def nll() -> float:
        head = Head(module, batch, dtype)
        sums = (functional.cross_entropy(x.float(), labels, reduction="sum") for labels, x in head.turns(head.states))
        return sum(total.item() for total in sums) / batch[:, 1:].numel()

    dense = nll()
    replays = _can_replay(layers, nll, dense)
    outputs: dict[int, Any] = {}
    projections = sorted(inventory.projections, key=lambda p: p.layer)
    for index, projection in enumerate(projections):
        with contextlib.ExitStack() as stack:
            if replays:
                stack.enter_context(_layers_replayed(layers, projection.layer, outputs, nll))
            stack.enter_context(stacks_as_modules(module, [projection.name]))
            linear = module.get_submodule(projection.name)
            (cut,) = compressed_modules([linear], _cut(projection, kept_fraction), factors_of((projection.name,)))
            stack.callback(module.set_submodule, projection.name, linear)
            module.set_submodule(projection.name, cut)
            increases[projection.name] = nll() - dense
        done = index + 1
        report("sensitivity", done / len(projections), f"Sensitivity: {done} of {len(projections)} projections")
    return increases


def _cut(projection: Projection, kept_fraction: float) -> BlockRank:
    shape = projection.in_features, projection.out_features
    rank = min(uniform_rank(Format.LOW_RANK, kept_fraction, *shape), max_useful_rank(Format.LOW_RANK, *shape))
    return BlockRank((projection.name,), Format.LOW_RANK, max(rank, 1))


def _can_replay(layers: nn.ModuleList, run: Callable[[], float], dense: float) -> bool:
    """Whether layers pass on nothing but their hidden state, so that the last one alone gives the dense loss."""
    try:
        with _layers_replayed(layers, len(layers) - 1, {}, run):
            return math.isclose(run(), dense, rel_tol=1e-4)
    except Exception:  # noqa: BLE001 -- whatever else a layer expects or returns is missed in any way
        return False


@contextlib.contextmanager
def _layers_replayed(
    layers: nn.ModuleList, first: int, outputs: dict[int, Any], run: Callable[[], float]
) -> Iterator[None]:
    """Make layers below ``first`` return the dense model's hidden state without computing it.

    ``outputs`` holds the output of the layer below the current one and is advanced one layer at a time.
    """
    below = first - 1
    if below >= 0 and below not in outputs:
        known = max(outputs, default=-1)
        with _passing_through(layers, known, outputs), _recording(layers[below], outputs, below):
            run()
        outputs.pop(known, None)
    with _passing_through(layers, below, outputs):
        yield


@contextlib.contextmanager
def _recording(layer: nn.Module, outputs: dict[int, Any], index: int) -> Iterator[None]:
    hook = layer.register_forward_hook(lambda _, __, output: outputs.__setitem__(index, output))
    try:
        yield
    finally:
        hook.remove()


@contextlib.contextmanager
def _passing_through(layers: nn.ModuleList, top: int, outputs: dict[int, Any]) -> Iterator[None]:
    """Replace the forward of layers 0..top: the top one returns its kept output, the others their input."""
    with contextlib.ExitStack() as stack:
        for index, layer in enumerate(layers[: top + 1]):
            stack.enter_context(standing_in(layer, _constant(outputs[top]) if index == top else _input_of))
        yield


def _constant(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def _input_of(hidden_states: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    return hidden_states
