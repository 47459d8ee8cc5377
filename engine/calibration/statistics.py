"""Second moments of one decoder layer: what the factorisations need, and nothing larger.

Every moment is taken on the smaller side of its weight (see ``docs/decisions.md``): with M = S_H^T W S_G,
either M M^T = S_H^T (W G W^T) S_H or M^T M = S_G^T (W^T H W) S_G is decomposed, so a projection with
out <= in needs H = E[g g^T] and Y = E[(Wx)(Wx)^T], a taller one G = E[x x^T] and K = E[(W^T g)(W^T g)^T].
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from engine.calibration.outer import add_outer, mirrored, rows_of
from engine.calibration.sides import keeps_input_moment
from engine.calibration.stacks import StackSums
from engine.errors import NumericalError
from engine.model.module import device_for_float64

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from engine.types import InputGroup, Projection

_AVERAGED = ("inputs", "outputs", "gradients", "common")
"""The moments that are means over tokens."""

_ADDED = ("importances", "counts")
"""What is a sum over tokens."""

_AT_ONCE = 2**20
"""Entries of a weight whose importance is summed together, few enough to stay in a processor's cache meanwhile."""


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """Moments of one decoder layer over ``n_tokens`` calibration tokens, those of gradients per scored one, in float32.

    Attributes:
        layer: index of the decoder layer.
        n_tokens: tokens averaged over.
        inputs: group name -> G (in, in), for groups that need it (see :mod:`engine.calibration.sides`).
        means: group name -> (n_sequences, in), the mean input of every sequence.
        outputs: projection name -> Y (out, out), for the projections of all other groups.
        gradients: projection name -> H (out, out) where out <= in, else K (in, in); nats squared.
        importances: projection name -> FLRC importances in the order of :class:`engine.types.Importance`.
        counts: stack of experts -> (experts,) tokens that each was given. Its moments above have one more dimension,
            the first, and are sums over these tokens divided by all tokens, so that they add up to those of the layer.
        common: stack of experts -> G or H of all its experts together, on the side that they share, if that is the
            larger one (see :mod:`engine.factorization.experts`).
    """

    layer: int
    n_tokens: int
    inputs: dict[str, torch.Tensor] = field(default_factory=dict)
    means: dict[str, torch.Tensor] = field(default_factory=dict)
    outputs: dict[str, torch.Tensor] = field(default_factory=dict)
    gradients: dict[str, torch.Tensor] = field(default_factory=dict)
    importances: dict[str, torch.Tensor] = field(default_factory=dict)
    counts: dict[str, torch.Tensor] = field(default_factory=dict)
    common: dict[str, torch.Tensor] = field(default_factory=dict)

    def grouped(self, n_groups: int) -> LayerStatistics:
        """Return the same with the means of ``n_groups`` runs of neighbouring sequences, which it divides."""
        means = {name: m.view(n_groups, -1, m.shape[1]).mean(1) for name, m in self.means.items()}
        return replace(self, means=means)

    @classmethod
    def merged(cls, runs: Iterable[LayerStatistics], n_tokens: int) -> LayerStatistics:
        """Return the moments over several runs of sequences, added in their order; of one run as they are.

        Args:
            runs: of the same layer, over sequences of one length; not to be used afterwards.
            n_tokens: of all runs.
        """
        each = iter(runs)
        total = next(each)
        if total.n_tokens == n_tokens:
            return total
        for kind in _AVERAGED:
            for moment in getattr(total, kind).values():
                moment.mul_(total.n_tokens / n_tokens)
        means = {name: [of_first] for name, of_first in total.means.items()}
        for run in each:
            for kind in _AVERAGED:
                for name, moment in getattr(run, kind).items():
                    getattr(total, kind)[name].add_(moment, alpha=run.n_tokens / n_tokens)
            for kind in _ADDED:
                for name, value in getattr(run, kind).items():
                    getattr(total, kind)[name].add_(value)
            for name, of_run in run.means.items():
                means[name].append(of_run)
        return replace(total, n_tokens=n_tokens, means={name: torch.cat(parts) for name, parts in means.items()})

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """Flatten to named tensors, ready for a safetensors file."""
        flat = {
            f"{kind}/{name}": tensor.contiguous().cpu()
            for kind in ("means", *_AVERAGED, *_ADDED)
            for name, tensor in getattr(self, kind).items()
        }
        return {**flat, "n_tokens": torch.tensor([self.n_tokens])}

    @classmethod
    def from_tensors(cls, layer: int, tensors: dict[str, torch.Tensor]) -> LayerStatistics:
        """Undo :meth:`to_tensors`."""
        statistics = cls(layer, int(tensors["n_tokens"]))
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            if name:
                getattr(statistics, kind)[name] = tensor
        return statistics


class LayerSums:
    """What the moments of one decoder layer are averaged from, added up batch by batch in float32.

    Args:
        layer: index of the decoder layer.
        n_sequences: of the whole text.
        n_start: tokens at the beginning of every sequence whose gradients are left out: attention makes a sink of a
            start token, whose enormous input meets none of the other tokens' gradients.
        downs: names of the projections that read the neurons of an MLP.
    """

    def __init__(self, layer: int, n_sequences: int, n_start: int = 0, downs: Collection[str] = ()) -> None:
        self._layer = layer
        self._n_sequences = n_sequences
        self._n_start = n_start
        self._downs = downs
        self._inputs: dict[str, torch.Tensor] = {}
        self._means: dict[str, torch.Tensor] = {}
        self._outputs: dict[str, torch.Tensor] = {}
        self._gradients: dict[str, torch.Tensor] = {}
        self._importances: dict[str, torch.Tensor] = {}
        self._stacks: dict[str, StackSums] = {}

    def of_stack(self, projection: Projection) -> StackSums:
        """Return the sums of a stack of experts, which are added to there."""
        return self._stacks.setdefault(projection.name, StackSums(projection, self._n_start))

    def add_input(self, group: InputGroup, x: torch.Tensor, sequences: slice) -> None:
        """Add the input x (..., in) of a group over consecutive ``sequences``."""
        rows = rows_of(x)
        if group.name not in self._means:
            self._means[group.name] = rows.new_zeros(self._n_sequences, rows.shape[1])
        by_sequence = rows.view(sequences.stop - sequences.start, -1, rows.shape[1])
        self._means[group.name][sequences] = by_sequence.mean(1)
        if keeps_input_moment(group, self._downs):
            add_outer(_sum_of(self._inputs, group.name, rows), rows)

    def add_output(self, group: InputGroup, y: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Add the output y (..., out) of a group's first projection, unless the input's moment is kept."""
        if not keeps_input_moment(group, self._downs):
            rows = rows_of(y)
            add_outer(_sum_of(self._outputs, group.members[0].name, rows), rows if bias is None else rows - bias)

    def add_gradient(self, projection: Projection, gradient: torch.Tensor, sequences: slice) -> None:
        """Add the gradient of the summed loss over consecutive ``sequences`` on the projection's smaller side.

        It is (..., out) if the projection is wide, else (..., in).
        """
        rows = rows_of(gradient)
        by_sequence = rows.view(sequences.stop - sequences.start, -1, rows.shape[1])
        rows = by_sequence[:, self._n_start :].flatten(0, 1)
        add_outer(_sum_of(self._gradients, projection.name, rows), rows)

    def add_importance(self, projection: Projection, gradient: torch.Tensor, weight: torch.Tensor) -> None:
        """Add what one batch says of a weight's importance; both are (..., out, in).

        Rows are summed in float32, and their sums in float64: beside the sum of many millions small ones are lost.
        """
        n_rows = max(1, _AT_ONCE // gradient.shape[-1])
        parts = zip(gradient.flatten(0, -2).split(n_rows), weight.flatten(0, -2).split(n_rows), strict=True)
        of_rows = torch.cat([_importances_of_rows(rows_of(part), weights) for part, weights in parts], 1)
        sums = of_rows.to(device_for_float64(of_rows.device)).double().sum(1)
        sums[1].abs_()
        known = self._importances.get(projection.name)
        self._importances[projection.name] = sums if known is None else known + sums

    def average(self, n_tokens: int, n_scored: int) -> LayerStatistics:
        """Return the moments: inputs and outputs per token read, gradients per scored token, as losses are.

        The sums become the moments in place, so nothing can be added afterwards.

        Raises:
            NumericalError: one is not finite; the message names the projection or its group.
        """
        inputs, outputs, gradients = (
            {name: mirrored(total.div_(n)) for name, total in sums.items()}
            for sums, n in ((self._inputs, n_tokens), (self._outputs, n_tokens), (self._gradients, n_scored))
        )
        common: dict[str, torch.Tensor] = {}
        for name, stack in self._stacks.items():
            averaged = stack.average(n_tokens, n_scored)
            (outputs if stack.is_wide else inputs)[name] = averaged.values
            gradients[name] = averaged.gradients
            if averaged.common is not None:
                common[name] = averaged.common
        for moments in (inputs, outputs, gradients, common, self._importances):
            for name, moment in moments.items():
                # The extremes, because comparing every entry takes the room of another moment.
                if not torch.isfinite(torch.stack(moment.aminmax())).all():
                    raise NumericalError(
                        f"A second moment of {name} is not finite; expected finite activations and gradients, "
                        "try --compute-dtype float32."
                    )
        counts = {name: stack.counts for name, stack in self._stacks.items()}
        return LayerStatistics(
            self._layer, n_tokens, inputs, self._means, outputs, gradients, self._importances, counts, common
        )


def _importances_of_rows(gradient: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the (3, n_rows) sums of (g w)^2, g w and g^2, of float32: in 16 bits squares would overflow or round."""
    product = gradient * weight
    vecdot = torch.linalg.vecdot
    return torch.stack([vecdot(product, product), product.sum(1), vecdot(gradient, gradient)])


def _sum_of(totals: dict[str, torch.Tensor], name: str, rows: torch.Tensor) -> torch.Tensor:
    """Return the total called ``name`` of outer products of rows (n, width); zeros where there is none yet."""
    if name not in totals:
        totals[name] = rows.new_zeros(rows.shape[1], rows.shape[1])
    return totals[name]
