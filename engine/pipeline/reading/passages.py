"""Stored losses of single tokens, beside the evaluation they are of; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cache import Key, write_arrays, write_json
from engine.results.passages import most_damaged_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cache import Store
    from engine.results.passages import Passage
    from engine.results.rows import PerplexityResult

_LOSSES: Final = "losses.safetensors"
_PIECES: Final = "pieces.json"


def losses_key(evaluation: Key) -> Key:
    """Return where the losses of an evaluation's tokens are stored."""
    return Key("token-losses", evaluation.fingerprint)


def write_losses(
    store: Store,
    evaluation: Key,
    analysis_id: str,
    pieces: Sequence[Sequence[str]],
    dense: NDArray[np.float32],
    compressed: NDArray[np.float32],
) -> None:
    """Store what every token of a text costs, as :func:`~engine.results.passages.most_damaged_first` takes it."""
    with store.writing(losses_key(evaluation), {"analysis": analysis_id}) as into:
        write_json(into / _PIECES, pieces)
        write_arrays(into / _LOSSES, {"dense": dense, "compressed": compressed})


def passages(store: Store, result: PerplexityResult) -> list[Passage] | None:
    """Return the passages of a measured text, the most damaged first; ``None`` where their losses were not kept.

    Raises:
        DamagedArtifactError: they are not what was written.
    """
    stage, _, fingerprint = result.provenance.artifact.partition("/")
    key = losses_key(Key(stage, fingerprint))
    if key not in store:
        return None
    artifact = store.read(key)
    losses = artifact.arrays(_LOSSES)
    return most_damaged_first(artifact.json(_PIECES), losses["dense"], losses["compressed"])
