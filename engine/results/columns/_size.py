"""What follows from a rank map without measuring."""

from __future__ import annotations

from engine.results.columns._base import Kind, Measure, Quantity, Role


def size_measures() -> tuple[Measure, ...]:
    """Return the columns every row has."""
    return (
        Measure(
            "kept_fraction",
            "Kept",
            "Fraction of the compressible parameters.",
            Kind.PERCENT,
            Role.DETAIL,
            lower_is_better=True,
            of=lambda row: Quantity(row.size.kept_fraction),
        ),
        Measure(
            "model_mb_float16",
            "Size, MB",
            "Whole model at float16, column orders included.",
            Kind.MB,
            Role.COST,
            lower_is_better=True,
            of=lambda row: Quantity(row.size.model_bytes["float16"] / 1e6),
        ),
        Measure(
            "params",
            "Multiply-adds of the projections",
            "Parameters of the compressible projections: one multiply-add each per token.",
            Kind.COUNT,
            Role.COST,
            lower_is_better=True,
            of=lambda row: Quantity(row.size.params),
        ),
    )
