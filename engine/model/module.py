"""What stages ask of an opened module: its decoder layers and weights, its type and device."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from engine.errors import ModelError, first_words

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Iterable


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
            f"The device {device!r} was asked for but this machine cannot use it ({first_words(error)}); "
            "use auto, cpu, cuda or mps."
        ) from error


def device_for_float64(device: torch.device) -> torch.device:
    """Return a device, or the CPU in the place of one without float64, as Apple's is."""
    return torch.device("cpu") if device.type == "mps" else device


@cache
def pass_type(device: str) -> str:
    """Return the type that passes run in where none is named: bfloat16, or float32 where a processor is faster in it.

    Processors without bfloat16 arithmetic emulate it at a fraction of the speed, so the speed is what is asked.

    Raises:
        ModelError: the device does not exist on this machine.
    """
    if resolve_device(device).type != "cpu":
        return "bfloat16"
    return min(("bfloat16", "float32"), key=_seconds_of_a_product)


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[None]:
    """Return the context in which a model's products are in ``dtype``; nothing is cast for float32."""
    cast: contextlib.AbstractContextManager[None] = torch.autocast(
        device.type, dtype=dtype, enabled=dtype is not torch.float32
    )
    return cast


def _seconds_of_a_product(dtype: str) -> float:
    matrix = torch.ones(256, 256, dtype=getattr(torch, dtype))
    seconds = []
    for _ in range(4):
        begun = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def embedding_rows(module: nn.Module) -> int:
    """Return how many token ids a model knows: those from 0 up to this."""
    rows: int = module.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    return rows


def require_embedded(module: nn.Module, tokens: Iterable[int]) -> None:
    """Check that a model knows the tokens that its tokenizer made of a text.

    Raises:
        ModelError: it does not; tokens may have been added to the tokenizer only.
    """
    largest, rows = max(tokens), embedding_rows(module)
    if largest >= rows:
        raise ModelError(
            f"The tokenizer makes token {largest:,} of this text, but the model embeds only {rows:,}; use another "
            "text, or the tokenizer files that belong to the model."
        )


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
