"""What formats make of decoder layers that are written one at a time."""

from __future__ import annotations

import contextlib
import copy
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from safetensors import safe_open

from engine.export.dense import COMPRESSED, Products
from engine.export.factored import CompressedParts, write_description
from engine.export.rounded import with_integers
from engine.export.weights import save_as_named
from engine.model.experts import StackedExperts
from engine.model.module import decoder_layers
from engine.model.offload import name_of_layers
from engine.model.stacks import stacks_as_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import torch
    from torch import nn

    from engine.types import BlockRank, Mlp


class StoredLayers(Protocol):
    """One format.

    Attributes:
        runs_own_code: whether its folder is opened with code of its own.
    """

    runs_own_code: bool

    @property
    def rank_pattern(self) -> Mapping[str, int]:
        """Name of a factored linear module that was written -> its rank."""
        ...

    def stored(self, layer: int) -> contextlib.AbstractContextManager[int]:
        """Keep what is written in the places of a compressed layer's modules, and give its unrounded parameters.

        Raises:
            ExportError: the format cannot hold it.
        """
        ...

    def save(self, tensors: dict[str, torch.Tensor], file: Path) -> Iterable[str]:
        """Write tensors to a file and return the names that they have there."""
        ...

    def describe(self, tokenizer: Any, folder: Path) -> None:
        """Write everything but the weights, which are there."""
        ...


class FactoredLayers:
    """Factors, and integers where weights are rounded.

    Args:
        module: in which layers are compressed.
        decided: layer -> its blocks, those with bits of their own among them.
    """

    runs_own_code = True

    def __init__(self, module: nn.Module, decided: Callable[[int], Sequence[BlockRank]]) -> None:
        self._module = module
        self._decided = decided
        self._parts: list[CompressedParts] = []

    @property
    def rank_pattern(self) -> Mapping[str, int]:
        """Name of a factored linear module that was written -> its rank."""
        return CompressedParts.together(self._parts).rank_pattern

    @contextlib.contextmanager
    def stored(self, layer: int) -> Iterator[int]:
        """Round what the map rounds."""
        module, blocks = self._module, self._decided(layer)
        rounded = [name for block in blocks if block.is_rounded for name in block.members]
        params = n_params(decoder_layers(module)[layer])
        with stacks_as_modules(module, rounded), contextlib.ExitStack() as stack:
            for name in rounded:
                stack.callback(module.set_submodule, name, module.get_submodule(name))
            with_integers(module, blocks)
            self._parts.append(CompressedParts.of(module))
            yield params

    def save(self, tensors: dict[str, torch.Tensor], file: Path) -> Iterable[str]:
        """Write tensors under their own names."""
        return save_as_named(tensors, file)

    def describe(self, tokenizer: Any, folder: Path) -> None:
        """Write the code that runs the factors, configuration and tokenizer."""
        write_description(self._module, CompressedParts.together(self._parts), tokenizer, folder)


class DenseLayers:
    """Products of the factors as weights of the original architecture, named as transformers stores them.

    Args:
        module: in which layers are compressed, with none that is now.
        mlps: of it.
        widths: name of ``down`` -> the neurons that an MLP keeps, where it loses some.
    """

    runs_own_code = False

    def __init__(self, module: nn.Module, mlps: Sequence[Mlp], widths: Mapping[str, int]) -> None:
        self._module = module
        self._products = Products(module, mlps, widths)
        self._saved: Any = copy.copy(module)
        if self._products.config is not None:
            self._saved.config = self._products.config

    @property
    def rank_pattern(self) -> Mapping[str, int]:
        """No factors are written."""
        return {}

    @contextlib.contextmanager
    def stored(self, layer: int) -> Iterator[int]:
        """Multiply factors out."""
        module, part = self._module, decoder_layers(self._module)[layer]
        inside = f"{name_of_layers(module)}.{layer}"
        with contextlib.ExitStack() as stack:
            # A layer's experts come after their stacks, whose products they take.
            for name, one in reversed([*part.named_modules(prefix=inside)]):
                if isinstance(one, COMPRESSED | StackedExperts):
                    stack.callback(module.set_submodule, name, one)
                    module.set_submodule(name, self._products.of(name, one))
            yield n_params(part)

    def save(self, tensors: dict[str, torch.Tensor], file: Path) -> Iterable[str]:
        """Let transformers write tensors, and the configuration beside them."""
        with tempfile.TemporaryDirectory(dir=file.parent) as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that layers in files have to fit into memory: this one is in it
            self._saved.save_pretrained(scratch, state_dict=tensors)
            for path in Path(scratch).iterdir():
                path.replace(file if path.suffix == file.suffix else file.parent / path.name)
        with safe_open(file, framework="pt") as written:
            return list(written.keys())

    def describe(self, tokenizer: Any, folder: Path) -> None:
        """Write the tokenizer; the configuration came with the weights."""
        tokenizer.save_pretrained(folder)


def n_params(module: nn.Module) -> int:
    """Return how many parameters a module has."""
    return sum(parameter.numel() for parameter in module.parameters())
