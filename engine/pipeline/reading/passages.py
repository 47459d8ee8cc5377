"""Stored losses of single tokens, beside the evaluation they are of; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cache import Key, read_stage, write_arrays, write_json
from engine.pipeline.reading.analyses import same_factors
from engine.pipeline.reading.documents import read_document
from engine.rank_map.identity import map_id
from engine.results.outcomes import MeasuredBlock
from engine.results.passages import most_damaged_first

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from cache import Artifact, Store
    from engine.rank_map.document import RankMap
    from engine.results.passages import Passage
    from engine.results.rows import PerplexityResult

_LOSSES: Final = "losses.safetensors"
_PIECES: Final = "pieces.json"


def losses_key(evaluation: Key) -> Key:
    """Return where the losses of an evaluation's tokens are stored."""
    return Key("token-losses", evaluation.fingerprint)


def block_losses_key(evaluation: Key) -> Key:
    """Return where the losses of tokens are stored when one block alone was cut; no evaluation is stored with them."""
    return Key("block-losses", evaluation.fingerprint)


def write_losses(
    into: Path,
    pieces: Sequence[Sequence[str]],
    dense: NDArray[np.float32],
    compressed: NDArray[np.float32],
) -> None:
    """Write what every token of a text costs, as :func:`~engine.results.passages.most_damaged_first` takes it."""
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
    return _read(store.read(key))


def block_passages(store: Store, analysis_id: str, alone: RankMap) -> tuple[MeasuredBlock, list[Passage]] | None:
    """Return what was measured last of one block, and the passages that pay most for it first; ``None``: nothing.

    Args:
        store: holds it.
        analysis_id: whose factors are cut.
        alone: a map of that block only.

    Raises:
        DamagedArtifactError: the losses are not what was written.
    """
    known, cut = same_factors(store, analysis_id), map_id(alone)

    def read(artifact: Artifact) -> tuple[str, MeasuredBlock, Key] | None:
        about = artifact.manifest.about
        if about["analysis"] not in known or about["cut"] != cut:
            return None
        return artifact.manifest.created, read_document(MeasuredBlock, artifact), artifact.key

    dated, _ = read_stage(store, "block-losses", read)
    if not dated:
        return None
    _, measured, key = max(dated, key=lambda one: one[0])
    return measured, _read(store.read(key))


def _read(artifact: Artifact) -> list[Passage]:
    losses = artifact.arrays(_LOSSES)
    return most_damaged_first(artifact.json(_PIECES), losses["dense"], losses["compressed"])
