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
            "model_mb",
            "Size, MB",
            "Weights of the whole model in 16 bits, column orders included; rounded projections in 8 or 4 bits, with "
            "their scales.",
            Kind.MB,
            Role.COST,
            lower_is_better=True,
            of=lambda row: Quantity(row.model_bytes / 1e6),
        ),
        Measure(
            "weight_bits",
            "Weight bits",
            "Bits of the projections' weights; below 16 they were rounded to the nearest.",
            Kind.COUNT,
            Role.DETAIL,
            lower_is_better=True,
            of=lambda row: Quantity(row.weight_bits),
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
