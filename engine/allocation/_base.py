"""What every allocator promises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from engine.allocation._units import model_order
from engine.errors import InfeasibleBudgetError, InvalidSpecError, NumericalError
from engine.registry import Registry
from engine.types import Allocation, Budget, Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from engine.allocation._blocks import Block
    from engine.types import BlockRank, GroupCurves


class Allocator(Protocol):
    """A pure function from curves and a budget to an allocation.

    Whatever the method: every projection is in exactly one block, blocks are in model order (of their
    first members), the allocation never has more parameters than the budget, locks are honoured exactly, and a block is
    dense (always on its own) where no allowed rank costs less. A method's own settings are keyword
    arguments with defaults.
    """

    def __call__(
        self,
        groups: Sequence[GroupCurves],
        budget: Budget,
        *,
        formats: frozenset[Format],
        locks: Sequence[BlockRank] = (),
    ) -> Allocation:
        """Choose format and rank of every block.

        Args:
            groups: the curves of the model's input groups, in model order.
            budget: the hard ceiling on the parameters of all compressible projections.
            formats: formats that may be used; dense always may. In a group that cannot be
                shared (one member, or a member locked on its own), cat stands for low-rank and
                skip+cat for skip. Width is for MLPs with a curve of it and nothing of theirs locked.
            locks: blocks whose decision is fixed.

        Raises:
            InfeasibleBudgetError: the locks, with all else at its cheapest, exceed the budget.
            InvalidRankMapError: a lock does not fit the groups.
            InvalidSpecError: the method cannot work with ``formats`` or a setting.
            NumericalError: a curve is not finite where it is needed.
        """


allocators: Registry[Allocator] = Registry("allocation method")


def only_format(formats: frozenset[Format], method: str, offered: Sequence[Format]) -> Format:
    """Return the one format a method gives every block that is not dense.

    Args:
        formats: that may be used.
        method: its name.
        offered: formats the method can work with.

    Raises:
        InvalidSpecError: there are none or several, or it is not offered.
    """
    given = sorted(formats - {Format.DENSE})
    if len(given) != 1 or given[0] not in offered:
        raise InvalidSpecError(
            f"The {method} method stores every block in one format, but it was given {', '.join(given) or 'none'}; "
            f"choose exactly one of {', '.join(offered)}, or use water-filling to mix them."
        )
    return given[0]


def require_positive(setting: str, value: int) -> None:
    """Check a count of ranks.

    Raises:
        InvalidSpecError: it is below 1.
    """
    if value < 1:
        raise InvalidSpecError(f"The setting {setting} was given as {value}; expected a whole number of at least 1.")


def require_feasible(floor_params: int, budget: Budget, n_locked: int) -> None:
    """Check that the cheapest allocation fits.

    Raises:
        InfeasibleBudgetError: it does not; the message has the smallest feasible kept fraction.
    """
    if floor_params <= budget.params:
        return
    given = f"The budget is {budget.params:,} parameters, but the smallest allocation"
    given += f" around the {n_locked} held blocks" if n_locked else ""
    if floor_params > budget.compressible_params:
        raise InfeasibleBudgetError(
            f"{given} has {floor_params:,}, more than the dense projections; release held ranks or lower them."
        )
    # The smallest ten-thousandth that is feasible when typed in, so rounded up, and past rounding errors.
    smallest = -(-floor_params * 10_000 // budget.compressible_params)
    while Budget.of_kept_fraction(smallest / 10_000, budget.compressible_params).params < floor_params:
        smallest += 1
    raise InfeasibleBudgetError(
        f"{given} has {floor_params:,}; raise the kept fraction to at least {smallest / 10_000:.4f}"
        + (" or release held ranks." if n_locked else ".")
    )


def conclude(groups: Sequence[GroupCurves], decisions: Iterable[tuple[Block, int | None]]) -> Allocation:
    """Add up the decided blocks and bring them into model order.

    Args:
        groups: the curves of the model's input groups, in model order.
        decisions: blocks with their ranks (``None``: dense), in any order.

    Raises:
        NumericalError: the curve of a block is not finite at its rank.
    """
    decisions = list(decisions)
    nats = [block.nats(rank) for block, rank in decisions]
    for (block, _), value in zip(decisions, nats, strict=True):
        if not math.isfinite(value):
            raise NumericalError(
                f"The distortion curve of {block.curve.name} is {value} at the chosen rank; expected finite "
                "nats, so analyse the model again."
            )
    places = model_order(groups)
    decided = (b for block, rank in decisions for b in block.decide(rank))
    return Allocation(
        blocks=tuple(sorted(decided, key=lambda block: places[block.members[0]])),
        params=sum(block.params(rank) for block, rank in decisions),
        # Exactly rounded, so the sum does not depend on the order of the blocks.
        nats=math.fsum(nats),
    )
