"""What every part of an evaluation is, and how its measurement is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cache import write_arrays, write_json
from engine.rank_map.identity import MEASUREMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from cache import Key
    from engine.pipeline.opened import OpenedAnalysis
    from engine.progress import Report
    from engine.rank_map.document import RankMap


class Part(Protocol):
    """One thing to measure of the dense model (``None``) and of every rank map."""

    @property
    def weight(self) -> int:
        """About how many tokens are run, for progress."""
        ...

    def is_stored(self, rank_map: RankMap | None) -> bool:
        """Return whether nothing is left to do."""
        ...

    def measure(self, rank_map: RankMap | None, report: Report) -> None:
        """Measure and store; the dense model comes before every rank map."""
        ...


def write_part(
    opened: OpenedAnalysis,
    key: Key,
    rank_map: RankMap | None,
    document: Mapping[str, object],
    arrays: Mapping[str, Mapping[str, NDArray[np.float64]]] | None = None,
) -> None:
    """Store a measurement with what it is of.

    Args:
        opened: what was measured.
        key: where.
        rank_map: ``None`` for the dense model.
        document: the measurement; what it says about type or device goes before what ``opened`` says.
        arrays: file name -> named arrays.
    """
    described = opened.described(rank_map)
    about = {name: described[name] for name in ("analysis", "model_fingerprint", "map")}
    with opened.store.writing(key, about) as into:
        write_json(into / MEASUREMENT, {**described, **document})
        for name, values in (arrays or {}).items():
            write_arrays(into / name, values)
        if rank_map is not None:
            (into / "rank-map.json").write_text(rank_map.to_json(), encoding="utf-8")
