"""What a model holds: its compressible projections by input group, and the rest.

Nothing here knows a model by name: decoder layers are the largest ``ModuleList``, projections are the
linear modules that one traced forward pass runs exactly once on every token, and an input group is
whatever that pass saw reading the same tensor.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from engine.errors import ModelError
from engine.model.mlps import find_mlps
from engine.model.module import decoder_layers, device_of, embedding_rows, weight_matrix
from engine.types import InputGroup, Inventory, Projection, SkippedWeight

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_SIDE = 8
"""A matrix narrower than this (a gate with a few outputs) has no rank worth saving."""


_TRACE_LENGTH = 8


def take_inventory(module: nn.Module) -> Inventory:
    """Find projections, input groups and everything that stays as it is.

    Raises:
        ModelError: nothing in the model can be compressed.
    """
    layers = decoder_layers(module)
    names = {m: name for name, m in module.named_modules()}
    outside = {id(m.weight) for m in (module.get_input_embeddings(), module.get_output_embeddings()) if m is not None}  # type: ignore[operator]
    uses = Counter(id(p) for m in module.modules() for p in m.parameters(recurse=False))
    calls = _trace(module, layers)
    groups: list[InputGroup] = []
    skipped: list[SkippedWeight] = []
    taken: set[int] = set()
    for index, layer in enumerate(layers):
        linears = [m for m in layer.modules() if isinstance(m, (nn.Linear, Conv1D))]
        kept: dict[tuple[object, ...], list[nn.Module]] = {}
        wanted = []
        for linear in linears:
            reason = _reason_to_skip(linear, calls.get(linear, []), uses[id(linear.weight)])
            if not reason:
                wanted.append(linear)
            elif id(linear.weight) not in taken:
                skipped.append(SkippedWeight(names[linear], linear.weight.numel(), reason))
            taken.add(id(linear.weight))
        order = {m: i for i, m in enumerate(calls)}
        for linear in sorted(wanted, key=order.__getitem__):
            kept.setdefault(calls[linear][0].identity, []).append(linear)
        lasts = Counter(names[m].rpartition(".")[2] for m in wanted)
        for members in kept.values():
            groups.append(InputGroup(tuple(_projection(m, names[m], index, lasts) for m in members)))
    skipped += _other_weights(module, taken, outside)
    if not groups:
        raise ModelError(
            f"{type(module).__name__} has no linear weight that runs on every token; nothing can be compressed."
        )
    total = sum(p.numel() for p in module.parameters())
    mlps = find_mlps(module, groups, trace_tokens(module))
    return Inventory(type(module).__name__, len(layers), tuple(groups), tuple(skipped), total, mlps)


@dataclass(frozen=True, slots=True)
class _Call:
    identity: tuple[object, ...]
    n_tokens: int


def _trace(module: nn.Module, layers: nn.ModuleList) -> dict[nn.Module, list[_Call]]:
    """Run a few tokens and record which tensor each linear module reads, in running order."""
    calls: dict[nn.Module, list[_Call]] = {}
    alive: list[torch.Tensor] = []

    def record(linear: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0]
        alive.append(x)
        identity = (x.data_ptr(), tuple(x.shape), x.stride(), x._version)
        calls.setdefault(linear, []).append(_Call(identity, x.numel() // x.shape[-1]))

    with contextlib.ExitStack() as hooks:
        for layer in layers:
            for linear in layer.modules():
                if isinstance(linear, (nn.Linear, Conv1D)):
                    hooks.callback(linear.register_forward_pre_hook(record).remove)
        with torch.no_grad():
            module(input_ids=trace_tokens(module), use_cache=False)
    return calls


def trace_tokens(module: nn.Module) -> torch.Tensor:
    """Return (1, 8) different token ids for a traced pass."""
    return (torch.arange(_TRACE_LENGTH, device=device_of(module)) * 7 % embedding_rows(module))[None]


def _reason_to_skip(linear: nn.Module, calls: list[_Call], uses: int) -> str:
    """Return why a linear module stays dense; empty if it does not."""
    weight: torch.Tensor = linear.weight  # type: ignore[assignment]
    reasons = (
        (not weight.is_floating_point(), f"stored as {weight.dtype}, not as floating-point numbers"),
        (uses > 1, "its weight is shared with another module"),
        (min(weight.shape) < MIN_SIDE, f"narrower than {MIN_SIDE}, nothing to save"),
        (not calls, "not reached by every token"),
        (len(calls) > 1, "runs several times in one pass"),
        (any(call.n_tokens != _TRACE_LENGTH for call in calls), "runs on some tokens only"),
    )
    return next((reason for applies, reason in reasons if applies), "")


def _projection(linear: nn.Module, name: str, layer: int, lasts: Counter[str]) -> Projection:
    out_features, in_features = weight_matrix(linear).shape
    *_, parent, last = name.split(".")
    kind = last.removesuffix("_proj") if lasts[last] == 1 else f"{parent}.{last}"
    return Projection(name, layer, kind, out_features, in_features)


def _other_weights(module: nn.Module, taken: set[int], outside: set[int]) -> Iterator[SkippedWeight]:
    """List what is no linear module of a decoder layer: embeddings, head, experts, one-dimensional weights."""
    vectors = 0
    for name, parameter in module.named_parameters():
        if id(parameter) in taken:
            continue
        if id(parameter) in outside:
            yield SkippedWeight(name, parameter.numel(), "embedding or output head, never compressed")
        elif parameter.ndim >= 3:
            shape = " x ".join(map(str, parameter.shape))
            yield SkippedWeight(name, parameter.numel(), f"experts in one tensor of {shape}, left dense")
        elif parameter.ndim == 2:
            yield SkippedWeight(name, parameter.numel(), "not a linear module of a decoder layer")
        else:
            vectors += parameter.numel()
    if vectors:
        yield SkippedWeight("norms and biases", vectors, "vectors have no rank")
