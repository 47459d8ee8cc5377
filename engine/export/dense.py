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
from engine.export.factored import is_narrowed_export
from engine.model.experts import ExpertStack, FactoredStack, StackedExperts
from engine.model.module import weight_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from engine.types import Mlp

COMPRESSED = FactoredLinear | FactoredStack | NarrowedLinear


class Products:
    """Ordinary modules for the places of compressed ones.

    Args:
        module: the dense model; its decoder layers may be in their files.
        mlps: of it.
        widths: name of ``down`` -> the neurons that an MLP keeps, where it loses some.

    Attributes:
        config: with which the model's class builds MLPs that narrow; ``None``: they are filled up with zeros.

    Raises:
        ExportError: the dense model has shapes that its original architecture has no place for.
    """

    def __init__(self, module: nn.Module, mlps: Sequence[Mlp], widths: Mapping[str, int]) -> None:
        if is_narrowed_export(module):
            raise ExportError(
                "The analysed model is an export with narrowed MLPs, whose shapes the original architecture has no "
                "place for; export this map with the format factored."
            )
        self.config = _narrow_config(module, mlps, widths)
        self._originals = dict(module.named_modules())
        self._neurons = {p.name: mlp.neurons for mlp in mlps for p in mlp.members}

    def of(self, name: str, part: nn.Module) -> nn.Module:
        """Return what stands in the place of a factored or narrowed module, of a stack of factors, or of experts.

        Experts take the weights that their stacks have, none of which is of factors any more.

        Raises:
            ExportError: compression added a bias, which the original module has no place for.
        """
        if isinstance(part, FactoredStack):
            return _plain_stack(part)
        original = self._originals[name]
        if isinstance(part, StackedExperts):
            return _experts_like(original, part)
        if isinstance(part, FactoredLinear):
            return _plain_linear(name, original, part)
        assert isinstance(part, NarrowedLinear)
        return _filled_up(original, part, self._neurons[name]) if self.config is None else _narrow_like(original, part)


def multiplied_out(module: nn.Module, compressed: nn.Module, mlps: Sequence[Mlp]) -> nn.Module:
    """Return the model with left @ right in the place of its weights; the rest is shared with ``module``.

    Args:
        module: the dense model; it is not changed.
        compressed: the same model with factored and narrowed modules.
        mlps: those of the dense model.

    Raises:
        ExportError: the original architecture has no place for shapes of the dense model, or for a bias that
            compression added.
    """
    changed = {name: part for name, part in compressed.named_modules() if isinstance(part, COMPRESSED)}
    widths = {name: part.in_features for name, part in changed.items() if isinstance(part, NarrowedLinear)}
    products = Products(module, mlps, widths)

    def plain(members: tuple[str, ...], _: Sequence[nn.Module]) -> list[nn.Module]:
        return [products.of(name, changed[name]) for name in members]

    result = with_replacements(module, [(name,) for name in changed], plain)
    _put_back_experts_(result, module)
    if products.config is not None:
        result.config = products.config
    return result


def _narrow_config(module: nn.Module, mlps: Sequence[Mlp], widths: Mapping[str, int]) -> Any:
    """Return the configuration with which a dense model's class builds narrower MLPs; ``None``: there is none.

    The entry is not known by name: it is the one that gives exactly these shapes.
    """
    kept = {widths.get(mlp.down.name) for mlp in mlps}
    width = kept.pop() if len(kept) == 1 else None
    if width is None:
        return None
    kinds = nn.Linear | Conv1D | nn.Embedding
    shapes = {name: _shape(part) for name, part in module.named_modules() if isinstance(part, kinds)}
    for mlp in mlps:
        shapes |= {p.name: (p.out_features // mlp.neurons * width, p.in_features) for p in mlp.up}
        shapes[mlp.down.name] = mlp.down.out_features, width
    causal: Any = module
    for entry, value in causal.config.to_dict().items():
        # What is not set follows from other entries, as GPT-2's inner width does.
        if value is None or (isinstance(value, int) and value == mlps[0].neurons):
            config = copy.deepcopy(causal.config)
            setattr(config, entry, width)
            if _builds(type(causal), config, shapes):
                return config
    return None


def _builds(kind: Any, config: Any, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a class makes every matrix in the shape it has to have."""
    try:
        with torch.device("meta"):
            built = kind(config)
        return all(_shape(built.get_submodule(name)) == shape for name, shape in shapes.items())
    except Exception:  # noqa: BLE001 whatever a configuration's own checks raise at a value they do not expect
        return False


def _shape(part: nn.Module) -> tuple[int, ...]:
    return tuple(part.weight.shape if isinstance(part, nn.Embedding) else weight_matrix(part).shape)


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
    """Put experts of the original's class in the places of modules for stacks."""
    stacked = [(name, part) for name, part in module.named_modules() if isinstance(part, StackedExperts)]
    for name, part in stacked:
        module.set_submodule(name, _experts_like(dense.get_submodule(name), part))


def _experts_like(original: nn.Module, stacks: StackedExperts) -> nn.Module:
    """Return experts of the original's class, with the weights that modules for stacks have now."""
    experts = copy.deepcopy(original, {id(p): p for p in original.parameters()})
    for side, weight in stacks.named_parameters():
        setattr(experts, side.removesuffix(".weight"), weight)
    return experts


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
