"""A causal language model up to its head, and the head on a few tokens at a time, by the model's own forward.

Nothing here knows an architecture: the model is called once until what is below its head returns, and then with a
stand-in there that returns some of it.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import torch

from engine.machine import MOST_LOGITS
from engine.model.module import autocast, embedding_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

_ALL: Final = slice(None)


class ReachedError(Exception):
    """Ends the call of a model after one of its parts."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


@contextlib.contextmanager
def standing_in(part: nn.Module, forward: Callable[..., object]) -> Iterator[None]:
    """Let calls of a part of a model be calls of ``forward`` meanwhile."""
    own = part.__dict__.get("forward")
    part.forward = forward
    try:
        yield
    finally:
        del part.forward
        if own is not None:
            part.forward = own


class Head:
    """What follows the last hidden states of a batch.

    Args:
        module: a causal language model, in evaluation mode.
        batch: (n_sequences, length) token ids, where the model is.
        dtype: autocast type.

    Attributes:
        states: (n_sequences, length, width), what the head reads; the logits where a model does not show that.
    """

    def __init__(self, module: nn.Module, batch: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
        self._module = module
        self._batch = batch
        self._dtype = dtype
        self._body: nn.Module = getattr(module, "base_model", module)
        self._returned, self.states = self._up_to_head()
        vocabulary = self.states.shape[-1] if self._returned is None else embedding_rows(module)
        self._n_tokens = MOST_LOGITS // vocabulary

    def logits(self, states: torch.Tensor, sequences: slice = _ALL, positions: slice = _ALL) -> torch.Tensor:
        """Return the logits (n_sequences, length, vocabulary) of some of ``states``, which may be a copy of its own."""
        some = states[sequences, positions]
        if self._returned is None:
            return some
        part = replace(self._returned, last_hidden_state=some)
        with standing_in(self._body, lambda *_, **__: part):
            logits: torch.Tensor = self._call(self._batch[sequences, positions]).logits
        return logits

    def turns(self, states: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the tokens (n,) that follow and their logits (n, vocabulary), sequence by sequence.

        As many whole sequences as :data:`engine.machine.MOST_LOGITS` allows make a turn, or else a part of one.
        """
        n_sequences, length = self._batch.shape[0], self._batch.shape[1] - 1
        together, rows = max(1, self._n_tokens // length), max(1, min(self._n_tokens, length))
        for first in range(0, n_sequences, together):
            sequences = slice(first, first + together)
            for start in range(0, length, rows):
                stop = min(start + rows, length)
                labels = self._batch[sequences, start + 1 : stop + 1]
                yield labels.flatten(), self.logits(states, sequences, slice(start, stop)).flatten(0, 1)

    @contextlib.contextmanager
    def cast_once(self) -> Iterator[None]:
        """Keep the head's weight in the autocast type meanwhile, which is done for weights that have gradients."""
        head = self._module.get_output_embeddings() if self._returned is not None else None  # type: ignore[operator]
        weights = [] if head is None else [(head.weight, head.weight.requires_grad)]
        with autocast(self._batch.device, self._dtype):
            try:
                for weight, _ in weights:
                    weight.requires_grad_(True)
                yield
            finally:
                for weight, required in weights:
                    weight.requires_grad_(required)

    def _up_to_head(self) -> tuple[Any, torch.Tensor]:
        """Return what the model returns below its head, if that shows what the head reads, and :attr:`states`."""
        original = self._body.forward

        def reached(*args: Any, **keywords: Any) -> None:
            raise ReachedError(original(*args, **keywords))

        try:
            with standing_in(self._body, reached):
                return None, self._call(self._batch).logits
        except ReachedError as end:
            output = end.output
        if isinstance(states := getattr(output, "last_hidden_state", None), torch.Tensor):
            return output, states
        with standing_in(self._body, lambda *_, **__: output):
            return None, self._call(self._batch).logits

    def _call(self, tokens: torch.Tensor) -> Any:
        with autocast(tokens.device, self._dtype):
            return self._module(input_ids=tokens, use_cache=False)
