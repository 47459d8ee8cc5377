"""Run a model's decoder layers one at a time, each by the model's own forward.

Nothing here knows an architecture. For every step the whole model is called, with stand-ins in the places of its
layers: the one before the wanted layer gives what was kept of it, so that the layer is called with the masks, positions
and whatever else the model's own code makes, and the call ends there. Earlier stand-ins give numbers that are not
finite, so that a layer that reads them is found out.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.utils import _pytree

from engine.errors import RankScopeError, UnstreamableError, first_words
from engine.model.head import ReachedError, standing_in
from engine.model.module import decoder_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Steps(Protocol):
    """A model in steps, of which each goes on with what the one before returned."""

    @property
    def parts(self) -> Sequence[range]:
        """Which decoder layers run in every step."""

    def run(self, index: int, batch: torch.Tensor, before: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Run one step on (n_sequences, length) token ids."""

    def logits(self, batch: torch.Tensor, before: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the logits (n_sequences, length, vocabulary) after the last step."""


class OneStep:
    """A whole model as one step, which returns the logits."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.parts = (range(len(decoder_layers(module))),)

    def run(self, index: int, batch: torch.Tensor, before: Sequence[torch.Tensor]) -> list[torch.Tensor]:  # noqa: ARG002
        """Run the model."""
        return [self._module(input_ids=batch, use_cache=False).logits]

    def logits(self, batch: torch.Tensor, before: Sequence[torch.Tensor]) -> torch.Tensor:  # noqa: ARG002
        """Return what the step returned."""
        return before[0]


@dataclass(frozen=True, slots=True)
class _Form:
    """How a layer returns its tensors: the leaves in order, ``None`` in the places of tensors."""

    spec: _pytree.TreeSpec
    others: tuple[object, ...]
    places: tuple[int, ...]

    def filled(self, tensors: Sequence[torch.Tensor]) -> object:
        leaves = list(self.others)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        return _pytree.tree_unflatten(leaves, self.spec)


class LayerSteps:
    """The decoder layers of a causal language model, one at a time.

    Args:
        module: the model, in evaluation mode; the same between calls.
        alike: those of a model of other weights, whose layers have run.
    """

    def __init__(self, module: nn.Module, alike: LayerSteps | None = None) -> None:
        self._module = module
        self._layers = list(decoder_layers(module))
        self._forms: dict[int, _Form] = {} if alike is None else dict(alike._forms)

    @property
    def n_layers(self) -> int:
        """How many there are."""
        return len(self._layers)

    @property
    def parts(self) -> Sequence[range]:
        """Every layer by itself."""
        return [range(index, index + 1) for index in range(self.n_layers)]

    def run(self, index: int, batch: torch.Tensor, before: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Run one layer.

        Args:
            index: of the layer; those before it have run.
            batch: (n_sequences, length) token ids.
            before: what the layer before it returned, or nothing for the first.

        Returns:
            The tensors that the layer returns.

        Raises:
            UnstreamableError: the layer needs more than that.
        """
        is_known = index in self._forms
        layer = self._layers[index]
        original = layer.forward

        def wanted(*args: Any, **keywords: Any) -> None:
            if not is_known and index > 0:
                self._require_finite((args, keywords), before, index)
            raise ReachedError(original(*args, **keywords))

        try:
            with self._standing_in(before, index, wanted):
                self._module(input_ids=batch, use_cache=False)
        except ReachedError as reached:
            output = reached.output
        except (RankScopeError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if is_known:
                raise
            raise self._refused(f"its layer {index} does not run by itself ({first_words(error)})") from error
        else:
            raise self._refused(f"it does not call its layer {index}")
        return self._tensors(index, output)

    @contextlib.contextmanager
    def after_last(self, before: Sequence[torch.Tensor]) -> Iterator[None]:
        """Let calls of the model begin after its last layer, which returned ``before``."""
        with self._standing_in(before, self.n_layers, None):
            yield

    def logits(self, batch: torch.Tensor, before: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the logits (n_sequences, length, vocabulary) after the last layer, which returned ``before``."""
        with self.after_last(before):
            logits: torch.Tensor = self._module(input_ids=batch, use_cache=False).logits
        return logits

    @contextlib.contextmanager
    def _standing_in(
        self, before: Sequence[torch.Tensor], index: int, wanted: Callable[..., None] | None
    ) -> Iterator[None]:
        """Put stand-ins in the places of all layers and ``wanted`` in that of ``index``."""
        called: list[int] = []
        # Like what a layer returns whose output nothing later may read.
        lost = [torch.full_like(t, torch.nan if t.is_floating_point() else 0, requires_grad=False) for t in before]

        def stand_in(at: int) -> Callable[..., object]:
            def run(*args: Any, **keywords: Any) -> object:
                if len(called) == self.n_layers:
                    called.clear()  # the model is called again
                if at != len(called):
                    raise self._refused(f"it calls its layer {at} after {len(called)} others")
                called.append(at)
                if at == index and wanted is not None:
                    return wanted(*args, **keywords)
                form = self._forms[at]
                if at == index - 1:  # a copy, because some models add to what a layer returned in place
                    return form.filled([tensor.clone() for tensor in before])
                return form.filled([lost[min(i, len(lost) - 1)] for i in range(len(form.places))])

            return run

        with contextlib.ExitStack() as stack:
            for at, layer in enumerate(self._layers):
                stack.enter_context(standing_in(layer, stand_in(at)))
            yield

    def _tensors(self, index: int, output: object) -> list[torch.Tensor]:
        leaves, spec = _pytree.tree_flatten(output)
        places = tuple(i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor))
        others = tuple(None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves)
        strange = next((leaf for leaf in others if not isinstance(leaf, (type(None), bool, int, float, str))), None)
        if strange is not None or not places:
            raise self._refused(f"its layer {index} returns a {type(strange).__name__}")
        self._forms[index] = _Form(spec, others, places)
        return [leaves[place] for place in places]

    def _require_finite(self, given: object, before: Sequence[torch.Tensor], index: int) -> None:
        def has_nan(tensors: object) -> bool:
            leaves = _pytree.tree_leaves(tensors)
            return any(isinstance(t, torch.Tensor) and t.is_floating_point() and t.isnan().any() for t in leaves)

        if has_nan(given) and not has_nan(list(before)):
            raise self._refused(f"its layer {index} reads what layers before the last one returned")

    def _refused(self, why: str) -> UnstreamableError:
        return UnstreamableError(
            f"{type(self._module).__name__} cannot be run layer by layer because {why}; run it as a whole, on a "
            "machine that holds it."
        )
