"""The few maps that are measured after a first analysis, so that predictions rest on measurements of this model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.errors import RankScopeError
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.presets import PRESETS
from engine.operations.evaluate import Evaluate
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.reading.trials import predicted_maps
from engine.rank_map.identity import map_id
from engine.types import Budget

if TYPE_CHECKING:
    from cache import Store
    from engine.operations._subjects import OnText

KEPT_FRACTION: Final = 0.8
"""Where every method is measured."""
OTHER_FRACTIONS: Final = (0.6, 0.9)
"""Where water-filling is measured as well, so that predictions know how the loss grows."""
N_SEQUENCES: Final = 6
"""Held-out sequences: few, because people wait for the first measured map."""
_LEADING: Final = "water-filling"


def first_measurements(analysed: OnText, store: Store, analysis_id: str) -> Evaluate | None:
    """Return the measurement of every method at one size and of water-filling at three, the leading one first.

    Args:
        analysed: says which text.
        store: holds the analysis.
        analysis_id: whose maps.
    """
    analysis = load_analysis(store, analysis_id)
    curves, request = curves_by_metric(analysis), Request(predicted=predicted_maps(analysis))
    others = [name for name in PRESETS if name != _LEADING]
    wanted = [
        (_LEADING, KEPT_FRACTION),
        *((_LEADING, kept) for kept in OTHER_FRACTIONS),
        *((name, KEPT_FRACTION) for name in others),
    ]
    maps: dict[str, str] = {}
    for method, kept in wanted:
        budget = Budget.of_kept_fraction(kept, analysis.inventory.compressible_params)
        try:
            rank_map = allocate_rank_map(analysis, curves, method, budget, request)
        except RankScopeError:
            continue  # the model has no map of this method and size; the others are measured
        maps.setdefault(map_id(rank_map), rank_map.to_json())
    if not maps:
        return None
    return Evaluate(
        analysis=analysis.id,
        rank_maps=tuple(maps.values()),
        text=analysed.text,
        text_field=analysed.text_field,
        n_sequences=N_SEQUENCES,
        length=min(analysed.length, Evaluate.settings()["length"].default),
    )
