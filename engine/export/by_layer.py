"""Write an export of a model that does not fit into memory: one decoder layer after the other."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from engine.evaluation.streamed import LayerByLayer
from engine.export.stored_layers import n_params
from engine.export.verification import compared_tokens, reference_logits, verify
from engine.export.weights import LayerFiles
from engine.export.writers import Written
from engine.model.module import decoder_layers
from engine.model.offload import device_map
from engine.progress import part_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import nn

    from engine.export.stored_layers import StoredLayers
    from engine.progress import Report


class LayerExport:
    """One export, written while the layers run on the tokens that it is verified with.

    Args:
        module: the dense model, its decoder layers in their files.
        held: layer -> the context in which it is in memory, compressed.
        layers: what the format makes of them.
        folder: there and empty.
    """

    def __init__(
        self,
        module: nn.Module,
        held: Callable[[int], contextlib.AbstractContextManager[None]],
        layers: StoredLayers,
        folder: Path,
    ) -> None:
        self._module = module
        self._held = held
        self._layers = layers
        self._folder = folder
        self._files = LayerFiles(folder, module, layers.save)
        self._params = n_params(module) - n_params(decoder_layers(module))

    def write(self, tokenizer: Any, report: Report) -> Written:
        """Write weights and what opens them, and open them in a fresh process layer by layer, too.

        Raises:
            ExportError: the format cannot hold the model, or it does not run there as it does here.
            ModelError: the module's class is not transformers' own.
            UnstreamableError: the model's layers cannot be run one at a time.
            OSError: the folder cannot be written.
        """
        module, layers = self._module, self._layers
        tokens = compared_tokens(module)
        (head,) = LayerByLayer(module, self._written).heads([tokens], part_of(report, 0.2, 0.7), "write")
        with torch.no_grad():
            logits = head.logits(head.states)
        self._files.write_rest()
        layers.describe(tokenizer, self._folder)
        report("verify", 0.7, "Opening the folder in a fresh process")
        reference = reference_logits(module, tokens, logits)
        placed = device_map(module, "cpu")
        verified = verify(self._folder, reference, runs_own_code=layers.runs_own_code, placed=placed)
        return Written(verified, self._files.n_bytes, self._params, layers.rank_pattern)

    @contextlib.contextmanager
    def _written(self, layer: int) -> Iterator[None]:
        """Hold a layer, written as it runs."""
        with self._held(layer), self._layers.stored(layer) as params:
            self._params += params
            self._files.write_layer(layer)
            yield
