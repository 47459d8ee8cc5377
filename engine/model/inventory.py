"""What a model holds: its compressible projections by input group, and the rest.

Nothing here knows a model by name: decoder layers are the largest ``ModuleList``, projections are the
linear modules that one traced forward pass runs exactly once on every token, and an input group is
whatever that pass saw reading the same tensor. Experts in tensors of three dimensions are two projections of a layer
where that pass did with them what gate, up and down do.
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
from engine.model.mlps import MlpSearch
from engine.model.module import decoder_layers, device_of, embedding_rows, weight_matrix
from engine.model.stacks import holds_stacks, runs_as_stacks
from engine.model.stepping import OneStep
from engine.types import Experts, InputGroup, Inventory, Projection, SkippedWeight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from engine.model.stepping import Steps

MIN_SIDE = 8
"""A matrix narrower than this (a gate with a few outputs) has no rank worth saving."""


_TRACE_LENGTH = 8


def take_inventory(module: nn.Module) -> Inventory:
    """Find projections, input groups and everything that stays as it is.

    Raises:
        ModelError: nothing in the model can be compressed.
    """
    taking = InventoryTaking(module, OneStep(module), lambda _: contextlib.nullcontext())
    taking.trace(0)
    taking.group(0)
    return taking.finished()


class InventoryTaking:
    """An inventory that is taken step by step, so that every layer has to be in memory only once.

    Args:
        module: the model, in evaluation mode; the same between steps.
        steps: of it.
        holding: step -> the context in which its weights are in memory.

    Attributes:
        states: what the last traced step returned for the tokens of :func:`trace_tokens`.
    """

    def __init__(
        self, module: nn.Module, steps: Steps, holding: Callable[[int], contextlib.AbstractContextManager[None]]
    ) -> None:
        self.states: list[torch.Tensor] = []
        self._module = module
        self._steps = steps
        self._tokens = trace_tokens(module)
        self._layers = list(decoder_layers(module))
        self._names = {m: name for name, m in module.named_modules()}
        uses = Counter(id(p) for m in module.modules() for p in m.parameters(recurse=False))
        # Before any weight is read: one that stays in its file is another object once it is in memory.
        self._uses = {
            m: max((uses[id(p)] for p in m.parameters(recurse=False) if p.ndim > 1), default=0)
            for m in module.modules()
        }
        self._places = Counter(m for layer in self._layers for m in set(layer.modules()))
        self._before: list[torch.Tensor] = []
        self._calls: dict[nn.Module, list[_Call]] = {}
        self._groups: list[InputGroup] = []
        self._reasons: dict[nn.Module, str] = {}
        self._stacked: set[nn.Module] = set()
        self._mlps = MlpSearch(module, steps, holding, self._tokens)

    @torch.no_grad()
    def trace(self, step: int) -> None:
        """Run a few tokens through the next step, whose weights are held."""
        self._before = self.states
        with _recording([self._layers[index] for index in self._steps.parts[step]]) as self._calls:
            self.states = self._steps.run(step, self._tokens, self._before)

    def group(self, step: int) -> None:
        """Find what the step that was traced last holds."""
        found = [group for index in self._steps.parts[step] for group in self._groups_of(index)]
        self._groups += found
        self._mlps.go_on(step, [group for group in found if not group.is_stack], self._before)

    def finished(self) -> Inventory:
        """Return the inventory, after the last step.

        Raises:
            ModelError: nothing in the model can be compressed.
        """
        module = self._module
        if not self._groups:
            raise ModelError(
                f"{type(module).__name__} has no linear weight that runs on every token; nothing can be compressed."
            )
        total = sum(p.numel() for p in module.parameters())
        skipped = tuple(self._skipped())
        return Inventory(
            type(module).__name__, len(self._layers), tuple(self._groups), skipped, total, self._mlps.found()
        )

    def _groups_of(self, index: int) -> list[InputGroup]:
        calls, names = self._calls, self._names
        wanted = []
        for linear in _linears(self._layers[index]):
            of_linear = calls.get(linear, [])
            n_runs = max(len(of_linear), self._places[linear])  # its other places may be those of other steps
            self._reasons[linear] = _reason_to_skip(linear, of_linear, self._uses[linear], n_runs)
            if not self._reasons[linear]:
                wanted.append(linear)
        order = {m: i for i, m in enumerate(calls)}
        kept: dict[tuple[object, ...], list[nn.Module]] = {}
        for linear in sorted(wanted, key=order.__getitem__):
            kept.setdefault(calls[linear][0].identity, []).append(linear)
        lasts = Counter(names[m].rpartition(".")[2] for m in wanted)
        found = [
            (order[members[0]], InputGroup(tuple(_projection(m, names[m], index, lasts) for m in members)))
            for members in kept.values()
        ]
        for experts in self._layers[index].modules():
            is_alone = self._uses[experts] == self._places[experts] == 1
            if is_alone and holds_stacks(experts) and _is_stacked(calls.get(experts, [])):
                stacks = _stacks(experts, names[experts], index, calls[experts][0].per_token)
                found += [(order[experts], InputGroup((stack,))) for stack in stacks]
                self._stacked.add(experts)
        return [group for _, group in sorted(found, key=lambda one: one[0])]

    def _skipped(self) -> Iterator[SkippedWeight]:
        module, taken = self._module, set[int]()
        for layer in self._layers:
            for linear in _linears(layer):
                if self._reasons[linear] and id(linear.weight) not in taken:
                    yield SkippedWeight(self._names[linear], linear.weight.numel(), self._reasons[linear])
                taken.add(id(linear.weight))
        taken |= {id(p) for experts in self._stacked for p in experts.parameters(recurse=False) if _is_wide_enough(p)}
        outside = {
            id(m.weight)
            for m in (module.get_input_embeddings(), module.get_output_embeddings())  # type: ignore[operator]
            if m is not None
        }
        yield from _other_weights(module, taken, outside)


def _linears(layer: nn.Module) -> list[nn.Linear | Conv1D]:
    return [m for m in layer.modules() if isinstance(m, (nn.Linear, Conv1D))]


@dataclass(frozen=True, slots=True)
class _Call:
    """What a module was given: of experts also how many each token has, if they do what stacks do, else 0."""

    identity: tuple[object, ...]
    n_tokens: int
    per_token: int = 0


@contextlib.contextmanager
def _recording(layers: Sequence[nn.Module]) -> Iterator[dict[nn.Module, list[_Call]]]:
    """Note meanwhile which tensor each linear module, and all experts, read, in running order."""
    calls: dict[nn.Module, list[_Call]] = {}
    alive: list[torch.Tensor] = []

    def record(linear: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0]
        alive.append(x)
        identity = (x.data_ptr(), tuple(x.shape), x.stride(), x._version)
        calls.setdefault(linear, []).append(_Call(identity, x.numel() // x.shape[-1]))

    def record_experts(experts: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        per_token = given[1].shape[-1] if len(given) == 3 and runs_as_stacks(experts, given, output) else 0
        calls.setdefault(experts, []).append(_Call((), len(output), per_token))

    with contextlib.ExitStack() as hooks:
        for layer in layers:
            for linear in layer.modules():
                if isinstance(linear, (nn.Linear, Conv1D)):
                    hooks.callback(linear.register_forward_pre_hook(record).remove)
                elif holds_stacks(linear):
                    hooks.callback(linear.register_forward_hook(record_experts).remove)
        yield calls


def trace_tokens(module: nn.Module) -> torch.Tensor:
    """Return (1, 8) different token ids for a traced pass."""
    return (torch.arange(_TRACE_LENGTH, device=device_of(module)) * 7 % embedding_rows(module))[None]


def _is_stacked(calls: list[_Call]) -> bool:
    """Whether experts ran once, on every token, as stacks do."""
    return [(call.n_tokens, call.per_token > 0) for call in calls] == [(_TRACE_LENGTH, True)]


def _is_wide_enough(stack: torch.Tensor) -> bool:
    return min(stack.shape[1:]) >= MIN_SIDE


def _stacks(experts: nn.Module, name: str, layer: int, per_token: int) -> Iterator[Projection]:
    """Yield gate and up, then down, of all experts of a layer; they are the experts' own two parameters."""
    for last, weight in experts.named_parameters(recurse=False):
        count, out_features, in_features = weight.shape
        if _is_wide_enough(weight):
            role = Experts(count, per_token, share_input=last.startswith("gate"))
            kind = f"{name.rpartition('.')[2]}.{last.removesuffix('_proj')}"
            yield Projection(f"{name}.{last}", layer, kind, out_features, in_features, role)


def _reason_to_skip(linear: nn.Module, calls: list[_Call], uses: int, n_runs: int) -> str:
    """Return why a linear module stays dense; empty if it does not."""
    weight: torch.Tensor = linear.weight  # type: ignore[assignment]
    reasons = (
        (not weight.is_floating_point(), f"stored as {weight.dtype}, not as floating-point numbers"),
        (uses > 1, "its weight is shared with another module"),
        (min(weight.shape) < MIN_SIDE, f"narrower than {MIN_SIDE}, nothing to save"),
        (not calls, "not reached by every token"),
        (n_runs > 1, "runs several times in one pass"),
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
            why = "no experts' gate and up, or down, without biases"
            why = why if _is_wide_enough(parameter) else f"narrower than {MIN_SIDE}, nothing to save"
            yield SkippedWeight(name, parameter.numel(), f"one tensor of {shape}: {why}; left dense")
        elif parameter.ndim == 2:
            yield SkippedWeight(name, parameter.numel(), "not a linear module of a decoder layer")
        else:
            vectors += parameter.numel()
    if vectors:
        yield SkippedWeight("norms and biases", vectors, "vectors have no rank")
