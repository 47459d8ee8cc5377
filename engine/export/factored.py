"""Write a compressed model as a folder that holds its factors and the code that runs them."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import transformers

from engine.compression import layers
from engine.compression.layers import FactoredLinear, NarrowedLinear, SharedInner, SkipInner
from engine.errors import ModelError
from engine.export import modeling
from engine.export.modeling import RoundedLinear, RoundedStack
from engine.export.weights import ONE_FILE_BYTES, write_weights
from engine.model import experts
from engine.model.experts import FactoredStack
from engine.model.module import dtype_of
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

_LAYERS = "factored_layers"
_EXPERTS = "factored_experts"
_MODELING = "modeling_factored"


@dataclass(frozen=True, slots=True)
class OriginalClasses:
    """Names, in transformers, of the classes an exported model subclasses."""

    config: str
    model: str
    causal: str

    @property
    def factored(self) -> str:
        """Name of the exported causal model; transformers chooses some models' caches by a part of the original's."""
        return f"Factored{self.causal}"


def original_classes(module: nn.Module) -> OriginalClasses:
    """Return the classes of an opened model; those under it, if it is itself an export with narrowed MLPs.

    Raises:
        ModelError: they are not transformers' own.
    """
    causal: Any = module
    kinds = [type(causal.config), type(causal.base_model), type(causal)]
    if is_narrowed_export(module):
        kinds = [kind.__bases__[0] for kind in kinds]
    for kind in kinds:
        if getattr(transformers, kind.__name__, None) is not kind:
            raise ModelError(
                f"The model's class {kind.__name__} is not one of transformers' own, so an export could not stand on "
                "it; expected a model that opens without code of its own."
            )
    return OriginalClasses(*(kind.__name__ for kind in kinds))


def is_narrowed_export(module: nn.Module) -> bool:
    """Whether an opened model is itself an export in which nothing but the width of MLPs is smaller."""
    config: Any = module.config
    others = ("factored_blocks", "factored_experts", "rounded_linears", "rounded_stacks")
    return bool(getattr(config, "narrowed_linears", None)) and not any(getattr(config, name, None) for name in others)


@dataclass(frozen=True, slots=True)
class CompressedParts:
    """What the configuration of an export lists: the parts of a model, or of one layer, that are not ordinary.

    Attributes:
        factored_blocks: blocks of factors.
        factored_experts: stacks of factors, of the experts of a layer.
        narrowed_linears: linear modules of MLPs with fewer neurons.
        rounded_linears: linear modules whose weights are integers.
        rounded_stacks: stacks of experts, or of their factors, whose weights are integers.
        rank_pattern: name of a factored linear module -> its rank, in model order, as PEFT writes ranks.
    """

    factored_blocks: list[dict[str, Any]]
    factored_experts: list[dict[str, Any]]
    narrowed_linears: list[dict[str, Any]]
    rounded_linears: list[dict[str, Any]]
    rounded_stacks: list[dict[str, Any]]
    rank_pattern: dict[str, int]

    @classmethod
    def of(cls, module: nn.Module) -> CompressedParts:
        """Return the parts that are in the places of linear modules now."""
        of_factors = factored_blocks(module), factored_experts(module)
        of_integers = rounded_linears(module), rounded_stacks(module)
        return cls(*of_factors, narrowed_linears(module), *of_integers, rank_pattern(module))

    @classmethod
    def together(cls, parts: Iterable[CompressedParts]) -> CompressedParts:
        """Return those of several layers, in their order."""
        whole = cls([], [], [], [], [], {})
        for one in parts:
            whole.factored_blocks.extend(one.factored_blocks)
            whole.factored_experts.extend(one.factored_experts)
            whole.narrowed_linears.extend(one.narrowed_linears)
            whole.rounded_linears.extend(one.rounded_linears)
            whole.rounded_stacks.extend(one.rounded_stacks)
            whole.rank_pattern.update(one.rank_pattern)
        return whole


def export_factored(module: nn.Module, tokenizer: Any, folder: Path, *, one_file_bytes: int = ONE_FILE_BYTES) -> None:
    """Write a compressed model so that transformers opens it with ``trust_remote_code=True``.

    Args:
        module: of transformers' own class or an export's, with :class:`FactoredLinear` and :class:`NarrowedLinear` in
            the places of linear modules, and :class:`FactoredStack` in those of experts.
        tokenizer: of the model.
        folder: there and empty.
        one_file_bytes: more weights than that go into several files.

    Raises:
        ModelError: the module's class is not transformers' own.
        OSError: the folder cannot be written.
    """
    write_weights(module, folder, one_file_bytes)
    write_description(module, CompressedParts.of(module), tokenizer, folder)


def write_description(module: nn.Module, parts: CompressedParts, tokenizer: Any, folder: Path) -> None:
    """Write everything of an export but its weights: code, configuration, tokenizer.

    Args:
        module: of transformers' own class or an export's.
        parts: of it that are compressed.
        tokenizer: of the model.
        folder: there.

    Raises:
        ModelError: the module's class is not transformers' own.
        OSError: the folder cannot be written.
    """
    classes = original_classes(module)
    causal: Any = module
    for name, file in ((_LAYERS, layers.__file__), (_EXPERTS, experts.__file__)):
        (folder / f"{name}.py").write_text(Path(file).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / f"{_MODELING}.py").write_text(_modeling_source(classes), encoding="utf-8")
    config = {
        **causal.config.to_diff_dict(),
        "model_type": modeling_type(causal.config.model_type),
        "architectures": [classes.factored],
        "auto_map": {
            "AutoConfig": f"{_MODELING}.FactoredConfig",
            "AutoModel": f"{_MODELING}.FactoredModel",
            "AutoModelForCausalLM": f"{_MODELING}.{classes.factored}",
        },
        "dtype": str(dtype_of(module)).removeprefix("torch."),
        **asdict(parts),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    causal.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def modeling_type(original: str) -> str:
    """Return the ``model_type`` of an export: its own, so that nothing opens the factors as dense weights."""
    return f"factored-{original.removeprefix('factored-')}"


def factored_blocks(module: nn.Module) -> list[dict[str, Any]]:
    """Return what the configuration lists, from the modules that are there."""
    readers: defaultdict[nn.Module, list[tuple[str, FactoredLinear]]] = defaultdict(list)
    for name, part in module.named_modules():
        if isinstance(part, FactoredLinear):
            readers[part.inner].append((name, part))
    blocks = []
    for inner, members in readers.items():
        # The inner factor is listed under the reader that runs first.
        members.sort(key=lambda member: "inner" not in member[1]._modules)
        factor: Any = inner.inner if isinstance(inner, SharedInner) else inner
        skips = isinstance(factor, SkipInner)
        shared = len(members) > 1
        blocks.append(
            {
                "projections": [name for name, _ in members],
                "format": str(
                    (Format.SKIP_CAT if shared else Format.SKIP) if skips else Format.CAT if shared else Format.LOW_RANK
                ),
                "rank": members[0][1].left.in_features,
                "in_features": len(factor.columns) if skips else factor.right.in_features,
                "out_features": [part.left.out_features for _, part in members],
                "bias": [part.left.bias is not None for _, part in members],
            }
        )
    return blocks


def factored_experts(module: nn.Module) -> list[dict[str, Any]]:
    """Return what the configuration lists of stacks of experts."""
    stacks = ((name, part) for name, part in module.named_modules() if isinstance(part, FactoredStack))
    shapes = ((name, part.left.shape, part.right.shape) for name, part in stacks)
    return [
        {"name": name, "experts": left[0], "rank": left[2], "in_features": right[2], "out_features": left[1]}
        for name, left, right in shapes
    ]


def narrowed_linears(module: nn.Module) -> list[dict[str, Any]]:
    """Return what the configuration lists of MLPs with fewer neurons."""
    return [
        {
            "name": name,
            "in_features": part.in_features,
            "out_features": part.out_features,
            "bias": part.bias is not None,
        }
        for name, part in module.named_modules()
        if type(part).__name__ == NarrowedLinear.__name__  # an export that was analysed brings a class of its own
    ]


def rounded_linears(module: nn.Module) -> list[dict[str, Any]]:
    """Return what the configuration lists of linear modules whose weights are integers."""
    return [
        {
            "name": name,
            "bits": part.bits,
            "group_size": part.group_size,
            "in_features": part.in_features,
            "out_features": part.out_features,
            "bias": part.bias is not None,
        }
        for name, part in module.named_modules()
        if isinstance(part, RoundedLinear)
    ]


def rounded_stacks(module: nn.Module) -> list[dict[str, Any]]:
    """Return what the configuration lists of stacks of experts, or of their factors, whose weights are integers."""
    return [
        {
            "name": name,
            "bits": part.bits,
            "group_size": part.group_size,
            "experts": part.shape[0],
            "in_features": part.shape[2],
            "out_features": part.shape[1],
        }
        for name, part in module.named_modules()
        if isinstance(part, RoundedStack)
    ]


def rank_pattern(module: nn.Module) -> dict[str, int]:
    """Return the rank of every factored linear module, or stack, by its name, in model order, as PEFT writes ranks."""
    ranks = {}
    for name, part in module.named_modules():
        if isinstance(part, FactoredLinear):
            ranks[name] = part.left.in_features
        elif isinstance(part, FactoredStack):
            ranks[name] = part.left.shape[-1]
    return ranks


def _modeling_source(classes: OriginalClasses) -> str:
    """Return the modeling file with the original's classes, its layers imported from the file beside it."""
    source = Path(modeling.__file__).read_text(encoding="utf-8")
    for ours, theirs in (
        ("import LlamaConfig as", f"import {classes.config} as"),
        ("import LlamaForCausalLM as", f"import {classes.causal} as"),
        ("import LlamaModel as", f"import {classes.model} as"),
        ("class FactoredForCausalLM(", f"class {classes.factored}("),
        ("from engine.compression.layers import", f"from .{_LAYERS} import"),
        ("from engine.model.experts import", f"from .{_EXPERTS} import"),
    ):
        assert source.count(ours) == 1
        source = source.replace(ours, theirs)
    return source
