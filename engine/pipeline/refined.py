"""Refined factors on disk, layer by layer, and back into a model compressed by the same rank map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from safetensors.torch import load_file, save_file

from cache import write_json
from engine.compression.layers import FactoredLinear, NarrowedLinear
from engine.model.experts import FactoredStack
from engine.model.module import decoder_layers
from engine.pipeline import keys
from engine.refinement import Checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from cache import Artifact, Key, Store

_CORRECTED: Final = (FactoredLinear, NarrowedLinear)


def apply_refinement(module: nn.Module, store: Store, key: Key) -> None:
    """Put the factors of a finished refinement into a model compressed by its rank map."""
    for index in range(len(decoder_layers(module))):
        refine_layer(module, store, key, index)


def minutes_of_training(store: Store, key: Key) -> float | None:
    """Return how long a refinement was allowed to train, 0 for a correction; ``None``: nothing says so any more."""
    if key not in store:
        return None
    training = store.read(key).json("refinement.json")["spec"]["training"]
    return 0.0 if training is None else training.get("minutes")


def training_gained(store: Store, key: Key) -> bool:
    """Return whether the training of a finished refinement found better factors than it began with."""
    divergences: list[float] = store.read(key).json("refinement.json")["held_out_divergences"]
    return min(divergences) < divergences[0]


def refine_layer(module: nn.Module, store: Store, key: Key, index: int) -> None:
    """Put the factors of one layer of a finished refinement into a model compressed by its rank map."""
    read_layer(decoder_layers(module)[index], store.read(keys.refined_layer_key(key, index)))


def write_layer(layer: nn.Module, folder: Path, *, trained: bool = False) -> None:
    """Write the factors of one decoder layer; if all were trained, those of experts, which nothing corrects, too."""
    factors = _factors(layer, (*_CORRECTED, FactoredStack) if trained else _CORRECTED)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in factors.items()}
    save_file(tensors, folder / "refined.safetensors")


@torch.no_grad()
def read_layer(layer: nn.Module, artifact: Artifact) -> None:
    """Put the stored factors into one decoder layer, in its own type."""
    stored = load_file(artifact.path("refined.safetensors"))
    for name, tensor in _factors(layer, _CORRECTED).items():
        tensor.copy_(stored[name] if name in stored else stored[_bare(name)])
    for name, tensor in _factors(layer, (FactoredStack,)).items():
        tensor.copy_(stored.get(name, tensor))


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write where a training stands."""
    first, second = checkpoint.moments
    named = {"value": checkpoint.values, "first": first, "second": second}
    tensors = {f"{name}/{index}": t.cpu() for name, several in named.items() for index, t in enumerate(several)}
    save_file(tensors, folder / "training.safetensors")
    document = {"steps": checkpoint.steps, "seconds": checkpoint.seconds, "divergences": checkpoint.divergences}
    write_json(folder / "training.json", document)


def read_checkpoint(artifact: Artifact) -> Checkpoint:
    """Read where a training stood."""
    tensors, document = load_file(artifact.path("training.safetensors")), artifact.json("training.json")
    n_factors = sum(name.startswith("value/") for name in tensors)

    def named(name: str) -> list[torch.Tensor]:
        return [tensors[f"{name}/{index}"] for index in range(n_factors)]

    values, first = named("value"), named("first")
    if "best/0" in tensors:  # of an earlier release, which went on from worse factors
        values, first = named("best"), [torch.zeros_like(moment) for moment in first]
    return Checkpoint(
        document["steps"],
        document["seconds"],
        values,
        (first, named("second")),
        tuple(document["divergences"]),
    )


def _bare(name: str) -> str:
    """Return what a factor's tensor was called while factors were bare parameters."""
    module, factor, part = name.rsplit(".", 2)
    return f"{module}.{factor}" if part == "weight" else f"{module}.{part}"


def _factors(layer: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, torch.Tensor]:
    """Return a layer's factors, column orders and narrowed matrices by name, shared ones once by their first reader."""
    found: dict[int, tuple[str, torch.Tensor]] = {}
    for name, module in layer.named_modules():
        if isinstance(module, kinds):
            for part, tensor in (*module.named_parameters(), *module.named_buffers()):
                found.setdefault(id(tensor), (f"{name}.{part}", tensor))
    return dict(found.values())
