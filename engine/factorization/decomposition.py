"""Spectral decompositions of M = S_H^T W S_G from moments on the smaller side of W.

References:
    SVD-LLM, arXiv:2403.07378 (whitening with a Cholesky factor of the input moment);
    GFWSVD, arXiv:2505.17974 (truncation in the Kronecker-factored Fisher metric).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from engine.errors import NumericalError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DAMPING_STEP = 10.0
_DAMPING_STEPS = 5


@dataclass(frozen=True, slots=True)
class Decomposition:
    """One side of a spectral decomposition, singular values descending.

    Attributes:
        energies: (k,) sigma squared, never negative.
        basis: (n, k), the map out of the truncated space; n is the width of the decomposed side.
        dual: (k, n), the map into it; dual @ basis = identity.
        damping: relative damping the Cholesky factorisation needed.
    """

    energies: torch.Tensor
    basis: torch.Tensor
    dual: torch.Tensor
    damping: float


def cholesky_damped(moment: torch.Tensor, damping: float, name: str) -> tuple[torch.Tensor, float]:
    """Return the lower Cholesky factor of ``moment`` (n, n) in float64 and the damping used.

    ``damping * mean(diagonal)`` is added; on failure the damping grows tenfold, a few times.

    Raises:
        NumericalError: the matrix is zero, not finite, or stays indefinite.
    """
    matrix = moment.double()
    matrix = (matrix + matrix.T).div_(2)
    scale = matrix.diagonal().mean()
    if not torch.isfinite(matrix).all() or not scale > 0:
        raise NumericalError(
            f"The second moment of {name} is {'zero' if scale == 0 else 'not finite'}; expected activations and "
            "gradients that are finite and not all zero, check the calibration text and the weights."
        )
    undamped = matrix.diagonal().clone()
    for step in range(_DAMPING_STEPS):
        relative = damping * _DAMPING_STEP**step
        matrix.diagonal().copy_(undamped + relative * scale)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed == 0:
            return factor, relative
    raise NumericalError(
        f"The second moment of {name} is indefinite even with relative damping {relative:g}; use more calibration "
        "text or --compute-dtype float32."
    )


def decompose_input_side(
    moment: torch.Tensor, gram: torch.Tensor, max_rank: int, damping: float, name: str
) -> Decomposition:
    """Decompose M^T M = S_G^T gram S_G.

    Args:
        moment: G (in, in); the truncation is optimal in its metric.
        gram: W^T H W (in, in), with H the identity for metrics that weigh all outputs alike.
        max_rank: rank of W at most; further directions are noise.
        damping: first relative damping tried on G.
        name: of the block, for errors.

    Returns:
        ``basis`` = S_G V and ``dual`` = V^T S_G^-1, so W_r = (W basis[:, :r]) dual[:r].
    """
    factor, used = cholesky_damped(moment, damping, name)
    energies, vectors = _top_eigenpairs(factor.T @ gram.double() @ factor, max_rank, name)
    dual = torch.linalg.solve_triangular(factor.T, vectors, upper=True).T
    return Decomposition(energies, factor @ vectors, dual, used)


def decompose_output_side(
    gram: torch.Tensor, moment: torch.Tensor | None, max_rank: int, damping: float, name: str
) -> Decomposition:
    """Decompose M M^T = S_H^T gram S_H.

    Args:
        gram: W G W^T (out, out).
        moment: H (out, out), or ``None`` for the identity.
        max_rank: rank of W at most.
        damping: first relative damping tried on H.
        name: of the block, for errors.

    Returns:
        ``basis`` = S_H^-T U and ``dual`` = U^T S_H^T, so W_r = basis[:, :r] (dual[:r] W).
    """
    gram = gram.double()
    if moment is None:
        energies, vectors = _top_eigenpairs(gram, max_rank, name)
        return Decomposition(energies, vectors, vectors.T, 0.0)
    factor, used = cholesky_damped(moment, damping, name)
    energies, vectors = _top_eigenpairs(factor.T @ gram @ factor, max_rank, name)
    basis = torch.linalg.solve_triangular(factor.T, vectors, upper=True)
    return Decomposition(energies, basis, vectors.T @ factor.T, used)


def input_side_energies(
    moment: torch.Tensor, gram: torch.Tensor, max_rank: int, damping: float, name: str
) -> torch.Tensor:
    """Return only the energies of :func:`decompose_input_side`."""
    factor, _ = cholesky_damped(moment, damping, name)
    return _top_eigenvalues(factor.T @ gram.double() @ factor, max_rank, name)


def output_side_energies(
    gram: torch.Tensor, moment: torch.Tensor | None, max_rank: int, damping: float, name: str
) -> torch.Tensor:
    """Return only the energies of :func:`decompose_output_side`."""
    gram = gram.double()
    if moment is not None:
        factor, _ = cholesky_damped(moment, damping, name)
        gram = factor.T @ gram @ factor
    return _top_eigenvalues(gram, max_rank, name)


def _top_eigenvalues(matrix: torch.Tensor, count: int, name: str) -> torch.Tensor:
    """Return the ``count`` largest eigenvalues, descending, clipped at 0."""
    with _named_convergence(name):
        values: torch.Tensor = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    return values.flip(0)[:count].clamp_min(0)


def _top_eigenpairs(matrix: torch.Tensor, count: int, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``count`` largest eigenvalues (descending, clipped at 0) and their vectors."""
    with _named_convergence(name):
        values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return values.flip(0)[:count].clamp_min(0), vectors.flip(1)[:, :count].contiguous()


@contextlib.contextmanager
def _named_convergence(name: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise NumericalError(
            f"The eigenvalues of {name} did not converge ({error}); expected finite, well scaled moments."
        ) from error
