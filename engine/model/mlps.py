"""The MLPs of a model whose neurons can be left out, found by what the model does and not by names.

References:
    LLM-Pruner, arXiv:2305.11627 (weights that can only be removed together).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from engine.model.module import dtype_of, weight_matrix
from engine.types import Mlp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from engine.model.stepping import Steps
    from engine.types import InputGroup, Projection

_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
_COARSE_TOLERANCE = 0.05


class MlpSearch:
    """The MLPs that run with fewer neurons, found step by step.

    Each is traced: every entry of ``down``'s input depends on its own entry of each projection in ``up``, at its own
    token, and on no other. Then all are narrowed at once to half their neurons, which must do the same as zeros in the
    places of the other half; what something else reads, too, fails that.

    Args:
        module: the model, in evaluation mode; the same afterwards.
        steps: of it.
        holding: step -> the context in which its weights are in memory.
        tokens: (1, n) ids to trace with.
    """

    def __init__(
        self,
        module: nn.Module,
        steps: Steps,
        holding: Callable[[int], contextlib.AbstractContextManager[None]],
        tokens: torch.Tensor,
    ) -> None:
        self._module = module
        self._steps = steps
        self._holding = holding
        self._tokens = tokens
        self._found: list[Mlp] = []
        self._together = _Narrowing(module, steps, tokens)

    def go_on(self, step: int, groups: Sequence[InputGroup], before: Sequence[torch.Tensor]) -> None:
        """Search the next step, whose weights are held.

        Args:
            step: in turn.
            groups: its compressible projections.
            before: what the step before returned for the tokens.
        """
        with torch.enable_grad():
            found = _elementwise(self._module, groups, lambda: self._steps.run(step, self._tokens, before))
        self._found += found
        self._together.go_on(step, found)

    def found(self) -> tuple[Mlp, ...]:
        """Return them in model order, after the last step."""
        if not self._found or self._together.is_the_same():
            return tuple(self._found)
        alone = {mlp.name: _Narrowing(self._module, self._steps, self._tokens) for mlp in self._found}
        for step, layers in enumerate(self._steps.parts):
            with self._holding(step):
                for mlp in self._found:
                    alone[mlp.name].go_on(step, [mlp] if mlp.layer in layers else [])
        return tuple(mlp for mlp in self._found if alone[mlp.name].is_the_same())


def rows_of_neurons(up: nn.Module, neurons: torch.Tensor, n_neurons: int) -> torch.Tensor:
    """Return the rows that some neurons have in the weight of ``up``: one in each of the parts it is fused from."""
    weight = weight_matrix(up)
    starts = torch.arange(0, len(weight), n_neurons, device=weight.device)
    return (starts[:, None] + neurons.to(weight.device)).flatten()


def _elementwise(module: nn.Module, groups: Sequence[InputGroup], run: Callable[[], object]) -> list[Mlp]:
    modules = dict(module.named_modules())
    outputs: dict[str, torch.Tensor] = {}
    inputs: dict[str, torch.Tensor] = {}

    def cut(name: str) -> Callable[..., torch.Tensor]:
        def take(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
            # The graph begins here. What follows reads a copy, because some models write into it.
            outputs[name] = output.detach().requires_grad_()
            return outputs[name].clone()

        return take

    def note(name: str) -> Callable[..., None]:
        def take(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            inputs[name] = given[0]

        return take

    with contextlib.ExitStack() as stack:
        for group in groups:
            for p in group.members:
                stack.callback(modules[p.name].register_forward_hook(cut(p.name)).remove)
            if len(group.members) == 1:
                first = group.members[0].name
                stack.callback(modules[first].register_forward_pre_hook(note(first)).remove)
        run()
    found = []
    for group in groups:
        if len(group.members) == 1 and inputs[group.members[0].name].requires_grad:
            down = group.members[0]
            others = [g for g in groups if g.layer == down.layer and g is not group]
            up = _depends_on(inputs[down.name], down, others, outputs)
            if up:
                found.append(Mlp(up, down))
    return found


def _depends_on(
    hidden: torch.Tensor, down: Projection, others: Sequence[InputGroup], outputs: Mapping[str, torch.Tensor]
) -> tuple[Projection, ...]:
    """Return what ``hidden`` depends on elementwise, if that is of one input group and all it depends on."""
    projections = [p for group in others for p in group.members]
    leaves = [outputs[p.name] for p in projections]
    # With a gradient of ones and one of zeros and ones what depends elementwise has the same numbers, or zeros.
    some = torch.randint(0, 2, hidden.shape, generator=torch.Generator().manual_seed(0)).to(hidden)
    every = torch.autograd.grad(hidden, leaves, torch.ones_like(hidden), retain_graph=True, allow_unused=True)
    partly = torch.autograd.grad(hidden, leaves, some, retain_graph=True, allow_unused=True)
    reached = []
    for p, full, part in zip(projections, every, partly, strict=True):
        if full is None or not full.any():
            continue
        if p.out_features % down.in_features or part is None:
            return ()
        parts = torch.cat([some] * (p.out_features // down.in_features), -1)
        if full.shape != parts.shape or not torch.equal(part, full * parts):
            return ()
        reached.append(p)
    in_one_group = any(set(reached) <= set(group.members) for group in others)
    return tuple(reached) if in_one_group else ()


class _Narrowing:
    """A run with fewer neurons beside one with zeros in the places of the others, step by step."""

    def __init__(self, module: nn.Module, steps: Steps, tokens: torch.Tensor) -> None:
        self._module = module
        self._steps = steps
        self._tokens = tokens
        self._with_zeros: list[torch.Tensor] = []
        self._narrow: list[torch.Tensor] | None = []

    @torch.no_grad()
    def go_on(self, step: int, mlps: Sequence[Mlp]) -> None:
        """Run the next step, in which ``mlps`` are narrowed."""
        modules = dict(self._module.named_modules())
        narrow: dict[str, nn.Module] = {}
        with contextlib.ExitStack() as stack:
            for mlp in mlps:
                kept = mlp.neurons // 2
                for p in mlp.up:
                    narrow[p.name] = _FirstNeurons(modules[p.name], kept, mlp.neurons, reads_them=False)
                down = modules[mlp.down.name]
                narrow[mlp.down.name] = _FirstNeurons(down, kept, mlp.neurons, reads_them=True)
                stack.callback(down.register_forward_pre_hook(_zero_after(kept)).remove)
            self._with_zeros = self._steps.run(step, self._tokens, self._with_zeros)
        if self._narrow is None:
            return
        try:
            with _in_place_of(self._module, narrow):
                self._narrow = self._steps.run(step, self._tokens, self._narrow)
        except Exception:  # noqa: BLE001 whatever a model's own code raises at a shape it does not expect
            self._narrow = None

    @torch.no_grad()
    def is_the_same(self) -> bool:
        """Whether both end with the same logits, after the last step."""
        if self._narrow is None:
            return False
        expected, got = (self._steps.logits(self._tokens, states) for states in (self._with_zeros, self._narrow))
        tolerance = _TOLERANCE.get(dtype_of(self._module), _COARSE_TOLERANCE)
        return bool((got - expected).abs().max() <= tolerance * expected.abs().max())


class _FirstNeurons(nn.Module):
    """A linear module as if the MLP it belongs to had the first ``kept`` of its neurons only.

    It asks for the weight when it runs: that of an offloaded layer is there only then.
    """

    def __init__(self, linear: nn.Module, kept: int, n_neurons: int, *, reads_them: bool) -> None:
        super().__init__()
        self._whole = (linear,)  # not a child, so that the tree of modules is the model's
        self._kept = kept
        self._n_neurons = n_neurons
        self._reads_them = reads_them

    @property
    def weight(self) -> torch.Tensor:
        whole = weight_matrix(self._whole[0])
        return whole[:, : self._kept] if self._reads_them else self._first(whole)

    @property
    def bias(self) -> torch.Tensor | None:
        bias: torch.Tensor | None = getattr(self._whole[0], "bias", None)
        return bias if bias is None or self._reads_them else self._first(bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight, self.bias)

    def _first(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows of the first neurons, a view where nothing is fused."""
        first: torch.Tensor = rows.unflatten(0, (-1, self._n_neurons))[:, : self._kept].flatten(0, 1)
        return first


def _zero_after(n_kept: int) -> Callable[..., tuple[torch.Tensor, ...]]:
    def zero(_: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        x, *rest = given
        x = x.clone()
        x[..., n_kept:] = 0
        return (x, *rest)

    return zero


@contextlib.contextmanager
def _in_place_of(module: nn.Module, replacements: Mapping[str, nn.Module]) -> Iterator[None]:
    """Put modules in the places of others, and those back at the end."""
    originals = {name: module.get_submodule(name) for name in replacements}
    try:
        for name, replacement in replacements.items():
            module.set_submodule(name, replacement)
        yield
    finally:
        for name, original in originals.items():
            module.set_submodule(name, original)
