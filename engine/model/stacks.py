"""Experts that transformers keeps in two tensors of three dimensions: found by what they do, and put in as modules."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import nn

from engine.model.experts import ExpertStack, StackedExperts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SIDES = ("gate_up_proj", "down_proj")
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}
_COARSE_TOLERANCE = 0.05


def holds_stacks(module: nn.Module) -> bool:
    """Whether a module's parameters are gate and up, and down, of several experts, as far as shapes can tell."""
    gate_up, down = (module._parameters.get(side) for side in _SIDES)
    if gate_up is None or down is None or gate_up.ndim != 3 or down.ndim != 3 or not hasattr(module, "act_fn"):
        return False
    if not (gate_up.is_floating_point() and down.is_floating_point()):
        return False
    n_experts, hidden, neurons = down.shape
    return gate_up.shape == (n_experts, 2 * neurons, hidden) and len(list(module.parameters(recurse=False))) == 2


@torch.no_grad()
def runs_as_stacks(module: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> bool:
    """Whether a module that holds stacks gives what :class:`StackedExperts` does."""
    try:
        difference = (as_modules(module)(*given) - output).abs().max()
    except Exception:  # noqa: BLE001 whatever is raised where a model gives its experts something else
        return False
    return bool(difference <= _TOLERANCE.get(output.dtype, _COARSE_TOLERANCE) * output.abs().max())


def as_modules(module: nn.Module) -> StackedExperts:
    """Return the same experts with a module for each stack, whose weights are the same tensors."""
    gate_up, down = (module.get_parameter(side) for side in _SIDES)
    return StackedExperts(gate_up, down, module.act_fn)  # type: ignore[arg-type]


def put_stacks_(module: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    """Put in modules where ``names`` are those of stacks; return what was there, by name."""
    replaced: dict[str, nn.Module] = {}
    for parent, _, last in (name.rpartition(".") for name in names):
        experts = module.get_submodule(parent)
        if last in experts._parameters:
            replaced[parent] = experts
            module.set_submodule(parent, as_modules(experts))
    return replaced


@contextlib.contextmanager
def stacks_as_modules(module: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Put in modules for the stacks among ``names`` meanwhile; weights that are put in their places are not kept."""
    replaced = put_stacks_(module, names)
    try:
        yield
    finally:
        for name, experts in replaced.items():
            module.set_submodule(name, experts)


def part_named(module: nn.Module, name: str) -> nn.Module:
    """Return the linear module of a projection; of a stack one around its weight, which is the same tensor."""
    parent, _, last = name.rpartition(".")
    holder = module.get_submodule(parent)
    stack = holder._parameters.get(last)
    return module.get_submodule(name) if stack is None else ExpertStack(stack)
