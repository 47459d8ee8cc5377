"""Write a factored export of a model that does not fit into memory: one decoder layer after the other."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from engine.evaluation.streamed import LayerByLayer
from engine.export.factored import CompressedParts, write_description
from engine.export.rounded import with_integers
from engine.export.verification import compared_tokens, reference_logits, verify
from engine.export.weights import LayerFiles
from engine.export.writers import Written
from engine.model.module import decoder_layers
from engine.model.offload import device_map
from engine.progress import part_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torch import nn

    from engine.progress import Report
    from engine.types import BlockRank


class LayerExport:
    """One export, written while the layers run on the tokens that it is verified with.

    Args:
        module: the dense model, its decoder layers in their files.
        held: layer -> the context in which it is in memory, compressed.
        decided: layer -> its blocks, those with bits of their own among them.
        folder: there and empty.
    """

    def __init__(
        self,
        module: nn.Module,
        held: Callable[[int], contextlib.AbstractContextManager[None]],
        decided: Callable[[int], Sequence[BlockRank]],
        folder: Path,
    ) -> None:
        self._module = module
        self._held = held
        self._decided = decided
        self._folder = folder
        self._files = LayerFiles(folder, module)
        self._parts: list[CompressedParts] = []
        inside = {id(parameter) for parameter in decoder_layers(module).parameters()}
        self._params = sum(p.numel() for p in module.parameters() if id(p) not in inside)

    def write(self, tokenizer: Any, report: Report) -> Written:
        """Write weights, code, configuration and tokenizer, and open them in a fresh process layer by layer, too.

        Raises:
            ExportError: it does not run there as it does here.
            ModelError: the module's class is not transformers' own.
            UnstreamableError: the model's layers cannot be run one at a time.
            OSError: the folder cannot be written.
        """
        tokens = compared_tokens(self._module)
        (head,) = LayerByLayer(self._module, self._written).heads([tokens], part_of(report, 0.2, 0.7), "write")
        with torch.no_grad():
            logits = head.logits(head.states)
        self._files.write_rest()
        parts = CompressedParts.together(self._parts)
        write_description(self._module, parts, tokenizer, self._folder)
        report("verify", 0.7, "Opening the folder in a fresh process")
        reference = reference_logits(self._module, tokens, logits)
        verified = verify(self._folder, reference, runs_own_code=True, placed=device_map(self._module, "cpu"))
        return Written(verified, self._files.n_bytes, self._params, parts.rank_pattern)

    @contextlib.contextmanager
    def _written(self, layer: int) -> Iterator[None]:
        """Hold a layer, written as it runs."""
        module = self._module
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._held(layer))
            self._params += sum(p.numel() for p in decoder_layers(module)[layer].parameters())
            blocks = self._decided(layer)
            for name in (name for block in blocks if block.is_rounded for name in block.members):
                stack.callback(module.set_submodule, name, module.get_submodule(name))
            with_integers(module, blocks)
            self._parts.append(CompressedParts.of(module))
            self._files.write_layer(layer)
            yield
