"""What rounding is predicted to do, in the store; free of torch."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from cache import Key, fingerprint, read_stage
from engine.precision import ROUNDINGS
from engine.rank_map.identity import SCHEMA_VERSION
from engine.types import RoundingNats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cache import Store

ROUNDING: Final = "rounding.safetensors"


def rounding_key(analysis_id: str) -> Key:
    """Return where an analysis's predictions of rounding are."""
    how = [*ROUNDINGS.values(), "weighed by kind"]
    return Key("rounding", fingerprint("rounding", how, [analysis_id], schema_version=SCHEMA_VERSION))


def is_outdated(store: Store, analysis_id: str) -> bool:
    """Return whether the predictions of an analysis that are stored are an earlier version's, which are not used."""
    if rounding_key(analysis_id) in store:
        return False
    owners, _ = read_stage(store, "rounding", lambda artifact: str(artifact.manifest.about["analysis"]))
    return analysis_id in owners


def read_rounding(store: Store, analysis_id: str) -> RoundingNats | None:
    """Return the predictions of an analysis, or ``None`` where they were never asked for.

    Raises:
        DamagedArtifactError: they are not what was written.
    """
    key = rounding_key(analysis_id)
    if key not in store:
        return None
    dense: dict[int, dict[str, float]] = defaultdict(dict)
    factored: dict[int, dict[str, NDArray[np.float64]]] = defaultdict(dict)
    for name, values in store.read(key).arrays(ROUNDING).items():
        what, bits, block = name.split("/", 2)
        if what == "dense":
            dense[int(bits)][block] = float(values[0])
        else:
            factored[int(bits)][block] = values
    return RoundingNats(dict(dense), dict(factored))
