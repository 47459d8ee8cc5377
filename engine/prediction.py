"""What an allocation is predicted to do to the loss, before anything is compressed."""

from __future__ import annotations

import math

from engine.errors import NumericalError


def predict_nll_increase(nats: float) -> float:
    """Return the predicted increase of the loss in nats per token from an allocation's ``nats``.

    For small damage second-order theory makes this the identity: half the discarded energy of the
    loss metric is the increase.

    Raises:
        NumericalError: ``nats`` is not a number.
    """
    if math.isnan(nats):
        raise NumericalError("The discarded energy is not a number; analyse the model again.")
    return nats


def predict_perplexity(dense_perplexity: float, nats: float) -> float:
    """Return the predicted perplexity of a compressed model; infinite where it exceeds every float.

    Args:
        dense_perplexity: of the uncompressed model, at least 1, on the text predicted for.
        nats: of the allocation, per token.

    Raises:
        NumericalError: an argument is not a number, or the perplexity below 1.
    """
    if not dense_perplexity >= 1:
        raise NumericalError(
            f"The dense perplexity was given as {dense_perplexity}; expected a number of at least 1, so "
            "measure the dense model again."
        )
    try:
        return dense_perplexity * math.exp(predict_nll_increase(nats))
    except OverflowError:
        return math.inf
