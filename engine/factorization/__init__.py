"""The mathematics of each metric and format, on tensors; nothing here knows modules or stores."""

from engine.factorization.blocks import Factors, factorize_group
from engine.factorization.decomposition import cholesky_damped, decompose_input_side, decompose_output_side
from engine.factorization.groups import factorize
from engine.factorization.skip import SkipFactors, skip_at_rank, to_skip

__all__ = [
    "Factors",
    "SkipFactors",
    "cholesky_damped",
    "decompose_input_side",
    "decompose_output_side",
    "factorize",
    "factorize_group",
    "skip_at_rank",
    "to_skip",
]
