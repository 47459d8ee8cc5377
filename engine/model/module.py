"""What stages ask of an opened module: its decoder layers and weights, its type and device."""

from __future__ import annotations

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from engine.errors import ModelError


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the type of a model's weights."""
    return next(module.parameters()).dtype


def device_of(module: nn.Module) -> torch.device:
    """Return where a model's weights are."""
    return next(module.parameters()).device


def resolve_device(device: str) -> torch.device:
    """Return the torch device for ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    Raises:
        ModelError: the device does not exist on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.zeros(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"The device {device!r} was asked for but this machine cannot use it ({first_line(error)}); "
            "use auto, cpu, cuda or mps."
        ) from error


def decoder_layers(module: nn.Module) -> nn.ModuleList:
    """Return the list of decoder layers: the ``ModuleList`` that holds most of the parameters.

    Raises:
        ModelError: there is none.
    """
    lists = [m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m) > 0]
    if not lists:
        raise ModelError(
            f"{type(module).__name__} has no list of decoder layers; expected a stack of transformer layers."
        )
    return max(lists, key=lambda m: sum(p.numel() for p in m.parameters()))


def weight_matrix(linear: nn.Module) -> torch.Tensor:
    """Return the weight of a linear module as (out_features, in_features), whichever way it is stored."""
    weight: torch.Tensor = linear.weight  # type: ignore[assignment]
    return weight.T if isinstance(linear, Conv1D) else weight


def positions_of(module: nn.Module) -> int | None:
    """Return the longest text a model was built for, in tokens; ``None`` where its configuration names no limit."""
    positions: int | None = getattr(module.config.get_text_config(), "max_position_embeddings", None)  # type: ignore[operator,union-attr]
    return positions


def first_line(error: BaseException) -> str:
    """Return what a foreign exception says first, for use in a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
