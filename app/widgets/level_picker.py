"""How thoroughly, and on which text, maps are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from app.widgets.pickers import option_picker
from app.widgets.text_form import measuring_form
from engine.levels import level_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis.value import Analysis

LEVELS: Final[Mapping[str, str]] = {"perplexity": "Perplexity", "quick": "Quick", "full": "Full"}


def evaluation_form(analysis: Analysis, *, key: str, levels: Sequence[str]) -> tuple[str, dict[str, Any] | None]:
    """Ask for a level of the operation ``evaluate`` and for its text; no arguments while no text is chosen."""
    level = option_picker(
        "How thoroughly",
        {name: LEVELS[name] for name in levels},
        key=f"{key}.level",
        help_text="Quick: perplexity, 100 items of two tasks and the speed, a few minutes for a small model. Full: two "
        "texts, all items of four tasks, 50 summaries, speed and memory; this can take an hour on a CPU.",
    )
    settings = level_settings(level)
    form_key = key if level == "perplexity" else f"{key}.{level}"
    amount = {name: settings[name] for name in ("n_sequences", "length")}
    return level, measuring_form(analysis, key=form_key, **amount)
