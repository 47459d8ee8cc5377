"""Weights on disk as transformers reads them: in one file, or one for every decoder layer and one for the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from huggingface_hub import save_torch_state_dict
from safetensors.torch import save_file

from engine.model.module import decoder_layers
from engine.model.offload import name_of_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import torch
    from torch import nn

    Save = Callable[[dict[str, torch.Tensor], Path], Iterable[str]]

ONE_FILE_BYTES = 5 * 10**9
"""More weights go into several files."""

_FORMAT = {"format": "pt"}


def save_as_named(tensors: dict[str, torch.Tensor], file: Path) -> Iterable[str]:
    """Write tensors to a file under their own names."""
    save_file(tensors, file, _FORMAT)
    return tensors


class LayerFiles:
    """A file for every decoder layer and one for the rest, written one after the other, so that one is in memory.

    Args:
        folder: there and without weights.
        module: the model, with or without the weights of its layers.
        save: writes tensors to a file and returns the names that they have there.

    Attributes:
        n_bytes: of the tensors that are written.
    """

    def __init__(self, folder: Path, module: nn.Module, save: Save | None = None) -> None:
        self._folder = folder
        self._module = module
        self._save = save or save_as_named
        self._layers = name_of_layers(module)
        self._n_files = len(decoder_layers(module)) + 1
        self._where: dict[str, str] = {}
        self.n_bytes = 0

    def write_layer(self, index: int) -> None:
        """Write what one layer holds now."""
        inside = f"{self._layers}.{index}."
        self._write(index, {name: t for name, t in stored_tensors(self._module).items() if name.startswith(inside)})

    def write_rest(self) -> None:
        """Write everything outside of the layers, and the index of all files."""
        inside = f"{self._layers}."
        rest = {name: t for name, t in stored_tensors(self._module).items() if not name.startswith(inside)}
        self._write(self._n_files - 1, rest)
        index = {"metadata": {"total_size": self.n_bytes}, "weight_map": dict(sorted(self._where.items()))}
        (self._folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def _write(self, number: int, tensors: Mapping[str, torch.Tensor]) -> None:
        file = f"model-{number + 1:05}-of-{self._n_files:05}.safetensors"
        names = self._save({name: _alone(tensor) for name, tensor in tensors.items()}, self._folder / file)
        self._where.update(dict.fromkeys(names, file))
        self.n_bytes += sum(tensor.nbytes for tensor in tensors.values())


def write_weights(module: nn.Module, folder: Path, one_file_bytes: int = ONE_FILE_BYTES) -> None:
    """Write all weights of a model in memory.

    Args:
        module: the model.
        folder: there and without weights.
        one_file_bytes: more than that go into several files.
    """
    if stored_bytes(module) <= one_file_bytes:
        state = {name: _alone(tensor) for name, tensor in stored_tensors(module).items()}
        save_torch_state_dict(state, folder, metadata=_FORMAT)
        return
    files = LayerFiles(folder, module)
    for index in range(len(decoder_layers(module))):
        files.write_layer(index)
    files.write_rest()


def stored_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors that an export of a model stores, by name, tied ones once."""
    causal: Any = module
    left_out = {*(causal._keys_to_ignore_on_save or ()), *causal.all_tied_weights_keys}
    return {name: tensor for name, tensor in causal.state_dict().items() if name not in left_out}


def stored_bytes(module: nn.Module) -> int:
    """Return the bytes of all tensors an export of a model stores, tied ones once."""
    return sum(tensor.nbytes for tensor in stored_tensors(module).values())


def _alone(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that is all of its storage, as files need it; a group's left factors are slices of one."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
