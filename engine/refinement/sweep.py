"""One walk over the decoder layers, the dense model and the compressed one side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from engine.model.module import decoder_layers
from engine.refinement.replay import LayerCall, advance, open_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from torch import nn

    from engine.progress import Report


@dataclass(frozen=True, slots=True, eq=False)
class LayerPair:
    """One decoder layer, dense and compressed, and what enters both and leaves the dense one.

    Attributes:
        index: of the layer.
        dense: the original layer.
        compressed: the layer to improve, in place.
        calls: what both are given beside hidden states, by batch size.
        dtype: autocast type of passes.
        dense_entering: per batch, (n, length, hidden) hidden states of the dense model, float32.
        entering: per batch, those of the compressed model, whose lower layers are improved already.
        leaving: per batch, what the dense layer makes of ``dense_entering``.
        outputs: name of a projection -> per batch, what it gives in the dense layer, bfloat16.
    """

    index: int
    dense: nn.Module
    compressed: nn.Module
    calls: dict[int, LayerCall]
    dtype: torch.dtype
    dense_entering: Sequence[torch.Tensor]
    entering: Sequence[torch.Tensor]
    leaving: Sequence[torch.Tensor]
    outputs: Mapping[str, Sequence[torch.Tensor]]


def improve_layer_by_layer(
    dense: nn.Module,
    compressed: nn.Module,
    tokens: torch.Tensor,
    improve: Callable[[LayerPair], None],
    report: Report,
    *,
    watched: Collection[str] = (),
    batch_size: int = 4,
    compute_dtype: str = "bfloat16",
) -> None:
    """Call ``improve`` for every layer from the lowest up; what a layer becomes is what the next one sees.

    Args:
        dense: the model that ``compressed`` was made from.
        compressed: improved in place.
        tokens: (n_sequences, length) calibration text.
        improve: changes ``compressed`` of the pair in place.
        report: told after every layer.
        watched: projections whose outputs in the dense model ``improve`` wants to see.
        batch_size: sequences per pass.
        compute_dtype: autocast type of passes.
    """
    dtype = getattr(torch, compute_dtype)
    stream = open_stream(dense, tokens, batch_size)
    dense_hidden = hidden = stream.hidden
    layers = list(zip(decoder_layers(dense), decoder_layers(compressed), strict=True))
    modules = dict(dense.named_modules())
    places = {id(m): index for index, (original, _) in enumerate(layers) for m in original.modules()}
    for index, (original, layer) in enumerate(layers):
        calls = stream.calls[index]
        here = {name: m for name, m in modules.items() if name in watched and places.get(id(m)) == index}
        leaving, outputs = advance(original, dense_hidden, calls, dtype, here)
        improve(LayerPair(index, original, layer, calls, dtype, dense_hidden, hidden, leaving, outputs))
        dense_hidden, hidden = leaving, advance(layer, hidden, calls, dtype)[0]
        report("refinement", (index + 1) / len(layers), f"Refinement: {index + 1} of {len(layers)} layers")
