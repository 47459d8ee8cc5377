"""Make a compressed model an ordinary one again.

Factors are multiplied out and save nothing then. MLPs with fewer neurons stay narrow where all have the same width and
the configuration has a name for it; otherwise zeros stand for the neurons that are gone.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from engine.compression.apply import with_replacements
from engine.compression.layers import FactoredLinear, NarrowedLinear, SharedInner, SkipInner
from engine.errors import ExportError
from engine.model.experts import ExpertStack, FactoredStack, StackedExperts
from engine.model.module import weight_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from engine.types import Mlp


def multiplied_out(module: nn.Module, compressed: nn.Module, mlps: Sequence[Mlp]) -> nn.Module:
    """Return the model with left @ right in the place of its weights; the rest is shared with ``module``.

    Args:
        module: the dense model; it is not changed.
        compressed: the same model with factored and narrowed modules.
        mlps: those of the dense model.

    Raises:
        ExportError: compression added a bias, which the original modules have no place for.
    """
    kinds = FactoredLinear | FactoredStack | NarrowedLinear
    changed = {n: part for n, part in compressed.named_modules() if isinstance(part, kinds)}
    neurons = {p.name: mlp.neurons for mlp in mlps for p in mlp.members}
    config = _narrow_config(compressed, mlps)

    def plain(members: tuple[str, ...], linears: Sequence[nn.Module]) -> list[nn.Module]:
        return [ordinary(name, linear, changed[name]) for name, linear in zip(members, linears, strict=True)]

    def ordinary(name: str, linear: nn.Module, part: nn.Module) -> nn.Module:
        if isinstance(part, FactoredLinear):
            return _plain_linear(name, linear, part)
        if isinstance(part, FactoredStack):
            return _plain_stack(part)
        assert isinstance(part, NarrowedLinear)
        return _filled_up(linear, part, neurons[name]) if config is None else _narrow_like(linear, part)

    result = with_replacements(module, [(name,) for name in changed], plain)
    _put_back_experts_(result, module)
    if config is not None:
        result.config = config
    return result


def _narrow_config(compressed: nn.Module, mlps: Sequence[Mlp]) -> Any:
    """Return the configuration with which the model's class builds the MLPs as they are here; ``None``: there is none.

    The entry is not known by name: it is the one that gives exactly these shapes.
    """
    downs = [compressed.get_submodule(mlp.down.name) for mlp in mlps]
    widths = {down.in_features if isinstance(down, NarrowedLinear) else None for down in downs}
    if len(widths) != 1 or None in widths:
        return None
    (width,) = widths
    causal: Any = compressed
    for entry, value in causal.config.to_dict().items():
        # What is not set follows from other entries, as GPT-2's inner width does.
        if value is None or (isinstance(value, int) and value == mlps[0].neurons):
            config = copy.deepcopy(causal.config)
            setattr(config, entry, width)
            if _builds(type(causal), config, compressed):
                return config
    return None


def _builds(kind: Any, config: Any, compressed: nn.Module) -> bool:
    """Whether a class makes every weight that is not factored in the shape it has."""
    try:
        with torch.device("meta"):
            built = kind(config)
        for name, part in compressed.named_modules():
            original = built.get_submodule(name) if isinstance(part, nn.Linear | Conv1D | nn.Embedding) else None
            if original is not None and _shape(original) != _shape(part):
                return False
    except Exception:  # noqa: BLE001 whatever a configuration's own checks raise at a value they do not expect
        return False
    return True


def _shape(part: nn.Module) -> torch.Size:
    return part.weight.shape if isinstance(part, nn.Embedding) else weight_matrix(part).shape


def without_factors(dense: nn.Module, compressed: nn.Module) -> nn.Module:
    """Return the compressed model with left @ right in the place of its factors; what else is smaller stays so.

    Raises:
        ExportError: compression added a bias, which the original modules have no place for.
    """
    kinds = FactoredLinear | FactoredStack
    factored = {name: part for name, part in compressed.named_modules() if isinstance(part, kinds)}

    def plain(members: tuple[str, ...], _: Sequence[nn.Module]) -> list[nn.Module]:
        return [ordinary(name, factored[name]) for name in members]

    def ordinary(name: str, part: FactoredLinear | FactoredStack) -> nn.Module:
        if isinstance(part, FactoredStack):
            return _plain_stack(part)
        return _plain_linear(name, dense.get_submodule(name), part)

    result = with_replacements(compressed, [(name,) for name in factored], plain)
    _put_back_experts_(result, dense)
    return result


def export_dense(module: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write a model of ordinary weights as transformers does.

    Raises:
        OSError: the folder cannot be written.
    """
    causal: Any = module
    causal.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@torch.no_grad()
def _narrow_like(linear: nn.Module, part: NarrowedLinear) -> nn.Module:
    """Return a narrowed module as one of the original's class."""
    if not isinstance(linear, Conv1D):
        return part
    result: nn.Module = Conv1D(part.out_features, part.in_features)
    result.weight = nn.Parameter(part.weight.T.contiguous(), requires_grad=False)
    if part.bias is not None:
        result.bias = nn.Parameter(part.bias, requires_grad=False)
    return result


@torch.no_grad()
def _filled_up(linear: nn.Module, part: NarrowedLinear, neurons: int) -> nn.Module:
    """Return a module of the original's size, in which zeros follow the rows or the columns of the kept neurons."""
    result = copy.deepcopy(linear)
    whole = weight_matrix(result)
    whole.zero_()
    rows = torch.arange(part.out_features, device=whole.device)
    if len(whole) > part.out_features:
        n_parts = len(whole) // neurons
        kept = part.out_features // n_parts
        rows = rows % kept + rows // kept * neurons
    whole[rows[:, None], torch.arange(part.in_features, device=whole.device)] = part.weight
    if part.bias is not None:
        bias: torch.Tensor = result.bias  # type: ignore[assignment]
        bias.zero_()
        bias[rows] = part.bias
    return result


@torch.no_grad()
def _plain_linear(name: str, linear: nn.Module, part: FactoredLinear) -> nn.Module:
    left, right = part.left.weight, _right(part.inner)
    if part.left.bias is not None and getattr(linear, "bias", None) is None:
        raise ExportError(
            f"Compressing in the feature metric gave {name} a bias, for which the original architecture has no place; "
            "export this map with the format factored, or choose a map in another metric."
        )
    result = copy.deepcopy(linear)
    weight_matrix(result).copy_((left.double() @ right).to(left))
    if part.left.bias is not None:
        result.bias.copy_(part.left.bias)  # type: ignore[operator]
    return result


@torch.no_grad()
def _plain_stack(part: FactoredStack) -> ExpertStack:
    left, right = part.left.weight, part.right.weight
    return ExpertStack((left.double() @ right.double()).to(left))


def _put_back_experts_(module: nn.Module, dense: nn.Module) -> None:
    """Put experts of the original's class, with the weights that they have now, in the places of modules for stacks."""
    stacked = [name for name, part in module.named_modules() if isinstance(part, StackedExperts)]
    for name in stacked:
        original, stacks = dense.get_submodule(name), module.get_submodule(name)
        experts = copy.deepcopy(original, {id(p): p for p in original.parameters()})
        for side, weight in stacks.named_parameters():
            setattr(experts, side.removesuffix(".weight"), weight)
        module.set_submodule(name, experts)


def _right(inner: Any) -> torch.Tensor:
    """Return what an inner factor multiplies its input with, (r, in) in float64."""
    factor: Any = inner.inner if isinstance(inner, SharedInner) else inner
    if not isinstance(factor, SkipInner):
        low_rank: torch.Tensor = factor.right.weight.double()
        return low_rank
    mix = factor.mix.weight.double()
    right = torch.empty(len(mix), len(factor.columns), dtype=torch.float64, device=mix.device)
    right[:, factor.columns.long()] = torch.cat([torch.eye(len(mix)).to(right), mix], dim=1)
    return right
