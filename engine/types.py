"""Frozen values that pass between the stages; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from engine.errors import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray


class Metric(StrEnum):
    """What a spectrum is taken of."""

    WEIGHT = "weight"
    INPUT = "input"
    FEATURE = "feature"
    LOSS = "loss"


class Importance(StrEnum):
    """How FLRC's importance follows from gradient g and weight w; stored in this order.

    Each is added up over batches: sum (g w)^2, |sum g w| and sum g^2.
    """

    TAYLOR2 = "taylor2"
    TAYLOR1 = "taylor1"
    FISHER = "fisher"


class Format(StrEnum):
    """How the factors of a block are stored and run."""

    DENSE = "dense"
    LOW_RANK = "low-rank"
    CAT = "cat"
    SKIP = "skip"
    SKIP_CAT = "skip+cat"
    WIDTH = "width"

    @property
    def is_shared(self) -> bool:
        """Whether projections of one input group share the inner factor."""
        return self in {Format.CAT, Format.SKIP_CAT}

    @property
    def skips(self) -> bool:
        """Whether an identity block of the inner factor is left out."""
        return self in {Format.SKIP, Format.SKIP_CAT}


RANK_FORMATS: Final = frozenset({Format.LOW_RANK, Format.CAT, Format.SKIP, Format.SKIP_CAT})
"""The formats that store two factors; in width the matrices stay whole and an MLP has fewer neurons."""


@dataclass(frozen=True, slots=True)
class Experts:
    """That a projection is a stack of matrices, of which every token is given to a few.

    Attributes:
        count: of experts, each with a matrix of its own.
        per_token: how many of them run for one token.
        share_input: whether they read one space, the hidden state, and write each to neurons of its own (gate and up);
            or the other way round (down).
    """

    count: int
    per_token: int
    share_input: bool


@dataclass(frozen=True, slots=True)
class Projection:
    """One compressible weight matrix W of shape (out_features, in_features), or the stack of those of all experts."""

    name: str
    layer: int
    kind: str
    out_features: int
    in_features: int
    experts: Experts | None = None

    @property
    def matrices(self) -> int:
        """How many matrices of the shape there are; they have a rank in common."""
        return 1 if self.experts is None else self.experts.count

    @property
    def active_fraction(self) -> float:
        """Which part of the parameters a token is multiplied with."""
        return 1.0 if self.experts is None else self.experts.per_token / self.experts.count

    @property
    def params(self) -> int:
        """Entries of W; the bias is never compressed nor counted."""
        return self.matrices * self.out_features * self.in_features


@dataclass(frozen=True, slots=True)
class InputGroup:
    """Projections of one layer that read the same input tensor, in the order they run."""

    members: tuple[Projection, ...]

    @property
    def name(self) -> str:
        """The members' names joined by ``+``; unique in a model."""
        return block_name(p.name for p in self.members)

    @property
    def layer(self) -> int:
        """Index of the decoder layer the members belong to."""
        return self.members[0].layer

    @property
    def in_features(self) -> int:
        """Width of the shared input."""
        return self.members[0].in_features

    @property
    def out_features(self) -> int:
        """D, the members' output widths added up."""
        return sum(p.out_features for p in self.members)

    @property
    def is_stack(self) -> bool:
        """Whether it is a stack of experts, which is alone in its group."""
        return self.members[0].experts is not None


@dataclass(frozen=True, slots=True)
class Mlp:
    """The projections on both sides of an MLP's neurons, which are the entries of ``down``'s input.

    A neuron is a row of every projection in ``up`` (or several rows, one in each part of a fused one, such as gate and
    up in a single weight) and a column of ``down``. It can be left out, because it depends on nothing but its own rows.

    Attributes:
        up: up, or gate and up, in the order they run; all of one input group.
        down: alone in its input group.
    """

    up: tuple[Projection, ...]
    down: Projection

    @property
    def members(self) -> tuple[Projection, ...]:
        """All projections, in the order they run."""
        return (*self.up, self.down)

    @property
    def name(self) -> str:
        """The members' names joined by ``+``; unique in a model."""
        return block_name(p.name for p in self.members)

    @property
    def layer(self) -> int:
        """Index of the decoder layer."""
        return self.down.layer

    @property
    def neurons(self) -> int:
        """How many there are."""
        return self.down.in_features

    @property
    def params_per_neuron(self) -> int:
        """Entries of all weights that go with one neuron."""
        return sum(p.params for p in self.members) // self.neurons


@dataclass(frozen=True, slots=True)
class SkippedWeight:
    """A weight that stays as it is, and why."""

    name: str
    params: int
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found in a model: the compressible projections by input group, and the rest.

    Attributes:
        architecture: class of the model.
        n_layers: decoder layers.
        groups: the compressible projections, in model order.
        skipped: every other weight.
        total_params: of the whole model.
        mlps: those whose neurons can be left out; their projections are in ``groups``, too.
    """

    architecture: str
    n_layers: int
    groups: tuple[InputGroup, ...]
    skipped: tuple[SkippedWeight, ...]
    total_params: int
    mlps: tuple[Mlp, ...] = ()

    @property
    def projections(self) -> tuple[Projection, ...]:
        """Every compressible projection, in model order."""
        return tuple(p for group in self.groups for p in group.members)

    @property
    def by_name(self) -> dict[str, Projection]:
        """The projections by name, in model order."""
        return {p.name: p for p in self.projections}

    @property
    def downs(self) -> frozenset[str]:
        """Names of the projections that read the neurons of an MLP."""
        return frozenset(mlp.down.name for mlp in self.mlps)

    @property
    def compressible_params(self) -> int:
        """Parameters of all projections when dense; kept fractions are fractions of this."""
        return sum(p.params for p in self.projections)


@dataclass(frozen=True, slots=True, eq=False)
class DistortionCurve:
    """Predicted loss increase of one block at every rank, or of an MLP at every number of neurons.

    Attributes:
        members: names of the projections factorised together, in stacking order.
        in_features: width of their input; of an MLP its neurons.
        out_features: their output widths added up (D); of an MLP the parameters that go with one neuron.
        nats: (max_rank + 1,) half the discarded loss-metric energy at rank r, weighed by depth, in nats per
            token; never increasing. A dense block has 0.
        importance: FLRC's alpha, summed over the members.
        matrices: how many of this shape have the rank in common: one, or those of all experts.
    """

    members: tuple[str, ...]
    in_features: int
    out_features: int
    nats: NDArray[np.float64]
    importance: float
    matrices: int = 1

    @property
    def name(self) -> str:
        """The members' names joined by ``+``."""
        return block_name(self.members)

    @property
    def max_rank(self) -> int:
        """Largest rank the stored factors have."""
        return len(self.nats) - 1

    @property
    def dense_params(self) -> int:
        """Parameters of the block when dense."""
        return self.matrices * self.in_features * self.out_features


@dataclass(frozen=True, slots=True, eq=False)
class GroupCurves:
    """The curves of one input group: one per member, and one for the members factorised together.

    Attributes:
        separate: of every member alone.
        shared: of all members together; ``None``: there is one member.
        width: of the MLP whose ``down`` is the one member, if its neurons can be left out.
    """

    separate: tuple[DistortionCurve, ...]
    shared: DistortionCurve | None
    width: DistortionCurve | None = None

    @property
    def dense_params(self) -> int:
        """Parameters of all members when dense."""
        return sum(curve.dense_params for curve in self.separate)


BITS: Final = (16, 8, 4)
"""Bits that the weights of a block can have."""


@dataclass(frozen=True, slots=True)
class BlockRank:
    """The decision for one block: its format and the rank, or in width the neurons kept (``None``: dense).

    Attributes:
        members: names of the projections, in stacking order.
        format: how they are stored.
        rank: of their factors, or the number of neurons.
        bits: of its weights, which are rounded below 16; ``None``: those of the whole model.
    """

    members: tuple[str, ...]
    format: Format
    rank: int | None
    bits: int | None = None

    def __post_init__(self) -> None:
        """Check that format and rank belong together, and that there are such bits."""
        if (self.rank is None) != (self.format is Format.DENSE):
            raise InvalidSpecError(
                f"{block_name(self.members)} was given format {self.format} with rank {self.rank}; "
                "a dense block has no rank and every other format needs one."
            )
        if self.rank is not None and self.rank < 1:
            raise InvalidSpecError(f"{block_name(self.members)} was given rank {self.rank}; a rank is at least 1.")
        if self.bits is not None and self.bits not in BITS:
            raise InvalidSpecError(f"{block_name(self.members)} was given {self.bits} bits; expected 16, 8 or 4.")

    @property
    def name(self) -> str:
        """The members' names joined by ``+``."""
        return block_name(self.members)

    @property
    def is_rounded(self) -> bool:
        """Whether the block has bits of its own that its weights are rounded to."""
        return self.bits is not None and self.bits < max(BITS)


@dataclass(frozen=True, slots=True, eq=False)
class RoundingNats:
    """What rounding is predicted to add to the loss, in nats per token, in the loss metric.

    Attributes:
        dense: bits -> projection -> nats when it is rounded as it is.
        factored: bits -> block -> (max_rank + 1,) nats when its two factors are rounded at a rank.
    """

    dense: Mapping[int, Mapping[str, float]]
    factored: Mapping[int, Mapping[str, NDArray[np.float64]]]

    def of(self, block: BlockRank, neurons: int | None = None) -> float:
        """Return the nats of one decided block; 0 where it is not rounded.

        Args:
            block: with bits of its own; not in a skip format, whose rounding is not predicted.
            neurons: of the MLP, where the block is one at a width.
        """
        if not block.is_rounded:
            return 0.0
        assert block.bits is not None
        if block.rank is None or block.format is Format.WIDTH:
            whole = sum(self.dense[block.bits][name] for name in block.members)
            # What is dropped is not rounded either.
            return whole if block.rank is None or neurons is None else whole * block.rank / neurons
        return float(self.factored[block.bits][block.name][block.rank])


@dataclass(frozen=True, slots=True)
class Budget:
    """A hard ceiling on the parameters of all compressible projections."""

    params: int
    compressible_params: int

    @classmethod
    def of_kept_fraction(cls, kept_fraction: float, compressible_params: int) -> Budget:
        """Return the budget that keeps ``kept_fraction`` (in (0, 1]) of ``compressible_params``.

        Raises:
            InvalidSpecError: the fraction is outside (0, 1].
        """
        if not 0 < kept_fraction <= 1:
            raise InvalidSpecError(
                f"The kept fraction {kept_fraction} was given; expected a number above 0 and at most 1, "
                "for example 0.8 to keep 80 % of the compressible parameters."
            )
        return cls(int(kept_fraction * compressible_params), compressible_params)

    @property
    def kept_fraction(self) -> float:
        """The ceiling as a fraction of the compressible parameters."""
        return self.params / self.compressible_params


@dataclass(frozen=True, slots=True)
class Allocation:
    """A rank for every block, in model order, with what it costs and what it is predicted to do.

    Attributes:
        blocks: every projection appears in exactly one of them.
        params: parameters of all compressible projections under this allocation.
        nats: predicted increase of the loss in nats per token.
    """

    blocks: tuple[BlockRank, ...]
    params: int
    nats: float


def block_name(members: Iterable[str]) -> str:
    """Join member names; the result identifies a block in a model."""
    return "+".join(members)
