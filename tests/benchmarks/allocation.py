"""Time the allocators at LLaMA-2-7B shapes: ``python -m tests.benchmarks.allocation``.

32 layers, 7 projections each: 224 blocks of 4,096 ranks, and the shared curves of q+k+v and gate+up.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import numpy as np

from engine.allocation import allocators, build_frontier
from engine.types import BlockRank, Budget, DistortionCurve, Format, GroupCurves

if TYPE_CHECKING:
    from collections.abc import Callable

HIDDEN, WIDE, N_LAYERS = 4096, 11008, 32
GROUPS = (
    (("q", "k", "v"), HIDDEN, HIDDEN),
    (("o",), HIDDEN, HIDDEN),
    (("gate", "up"), HIDDEN, WIDE),
    (("down",), WIDE, HIDDEN),
)
ALL = frozenset({Format.LOW_RANK, Format.CAT, Format.SKIP, Format.SKIP_CAT})
CHOICES = (
    ("all formats", ALL, 1),
    ("all formats, step 8", ALL, 8),
    ("low-rank, cat", frozenset({Format.LOW_RANK, Format.CAT}), 1),
    ("low-rank", frozenset({Format.LOW_RANK}), 1),
)


def curve(members: tuple[str, ...], in_features: int, out_features: int, rng: np.random.Generator) -> DistortionCurve:
    """Return a curve of a spectrum that falls like a power law, with noise."""
    n_ranks = min(in_features, out_features)
    energy = np.sort(np.arange(1, n_ranks + 1) ** -rng.uniform(0.4, 1.6) * rng.uniform(0.5, 1.5, n_ranks))[::-1]
    discarded = np.append(np.cumsum(energy[::-1])[::-1], 0.0)
    return DistortionCurve(
        members, in_features, out_features, discarded / discarded[0] * rng.lognormal(-3, 1), rng.lognormal()
    )


def model() -> list[GroupCurves]:
    """Return the curves of a made-up model with LLaMA-2-7B's shapes."""
    rng = np.random.default_rng(0)
    groups = []
    for layer in range(N_LAYERS):
        for kinds, in_features, out_features in GROUPS:
            names = tuple(f"model.layers.{layer}.{kind}_proj" for kind in kinds)
            separate = tuple(curve((name,), in_features, out_features, rng) for name in names)
            shared = curve(names, in_features, out_features * len(names), rng) if len(names) > 1 else None
            groups.append(GroupCurves(separate, shared))
    return groups


def milliseconds(run: Callable[[], object]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """Print the table."""
    groups = model()
    total = sum(group.dense_params for group in groups)
    budgets = [Budget.of_kept_fraction(kept, total) for kept in np.random.default_rng(1).uniform(0.05, 1, 500)]
    locks = [BlockRank((f"model.layers.{layer}.k_proj",), Format.LOW_RANK, 512) for layer in range(N_LAYERS)]
    print(f"{sum(len(group.separate) for group in groups)} projections, {total:,} parameters")
    print(f"{'':32}{'build ms':>10}{'edges':>10}{'median ms':>11}{'p95 ms':>9}{'max ms':>9}")
    for title, formats, step in CHOICES:
        for fixed, suffix in (((), ""), (locks, ", 32 locks")):
            build = [
                milliseconds(lambda: build_frontier(groups, formats=formats, locks=fixed, rank_step=step))  # noqa: B023
                for _ in range(3)
            ]
            frontier = build_frontier(groups, formats=formats, locks=fixed, rank_step=step)
            feasible = [budget for budget in budgets if budget.params >= frontier.costs[0]]
            times = [milliseconds(lambda: frontier.allocate(budget)) for budget in feasible]  # noqa: B023
            row(title + suffix, times, build=statistics.median(build), n_edges=len(frontier.costs) - 1)
    for method in ("uniform", "flrc"):
        allocate = allocators.get(method)
        only = frozenset({Format.LOW_RANK})
        times = [milliseconds(lambda: allocate(groups, budget, formats=only)) for budget in budgets[:200]]  # noqa: B023
        row(method, times)


def row(title: str, times: list[float], build: float | None = None, n_edges: int | None = None) -> None:
    """Print one line of the table."""
    start = f"{title:32}" + (f"{build:10.0f}{n_edges:10,}" if build is not None else " " * 20)
    print(f"{start}{statistics.median(times):11.2f}{np.percentile(times, 95):9.2f}{max(times):9.2f}")


if __name__ == "__main__":
    main()
