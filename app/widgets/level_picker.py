"""How thoroughly, and on which text, maps are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.widgets.pickers import option_picker
from app.widgets.text_form import measuring_form
from engine.operations import Evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap

LEVELS: Final[Mapping[str, str]] = {"perplexity": "Perplexity", "quick": "Quick", "full": "Full"}


def evaluation_form(
    analysis: Analysis, rank_maps: Sequence[RankMap], *, key: str, levels: Sequence[str]
) -> Evaluate | None:
    """Ask how thoroughly and on which text maps are measured; ``None`` while no text is chosen."""
    level = option_picker(
        "How thoroughly",
        {name: LEVELS[name] for name in levels},
        key=f"{key}.level",
        help_text="Quick: perplexity, 100 items of two tasks and the speed, a few minutes for a small model. Full: two "
        "texts, all items of four tasks, 50 summaries, speed and memory; this can take an hour on a CPU.",
    )
    form_key = key if level == "perplexity" else f"{key}.{level}"
    maps = tuple(rank_map.to_json() for rank_map in rank_maps)
    usual = Evaluate(analysis=analysis.id, rank_maps=maps).changed(level=level)
    return measuring_form(analysis, usual, key=form_key)
