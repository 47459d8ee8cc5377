"""How thoroughly, and on which text, maps are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services import jobs
from app.services.evaluations import usual_evaluation
from app.widgets.pickers import option_picker
from app.widgets.text_form import measuring_form
from engine.operations import Evaluate
from engine.results.words import duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap

LEVELS: Final[Mapping[str, str]] = {"perplexity": "Perplexity", "quick": "+ tasks and speed", "full": "Everything"}


def evaluation_form(
    analysis: Analysis, rank_maps: Sequence[RankMap], *, key: str, levels: Sequence[str]
) -> Evaluate | None:
    """Ask how thoroughly and on which text maps are measured; ``None`` while no text is chosen."""
    usual = usual_evaluation(analysis, rank_maps)
    level = option_picker(
        "Evaluate",
        {name: _with_time(usual.changed(level=name)) for name in levels},
        key=f"{key}.level",
        help_text="Every level measures the perplexity on the same text. + tasks and speed: 100 items of two tasks, "
        "and tokens per second. Everything: a second text, all items of four tasks, 50 summaries, speed and memory; "
        "this can take an hour on a CPU.",
    )
    bits = option_picker(
        "Weights",
        {name: f"{name} bits" for name in Evaluate.settings()["bits"].choices},
        key=f"{key}.bits",
        help_text="Below 16 bits the weights of all projections are rounded to the nearest, and the dense model is "
        "measured so as well: at the same size, rounding alone may do better than a lower rank. Speed and memory are "
        "measured at 16 bits only.",
    )
    form_key = key if level == "perplexity" else f"{key}.{level}"
    return measuring_form(analysis, usual.changed(level=level, bits=bits), key=form_key)


def _with_time(operation: Evaluate) -> str:
    expected, title = jobs.estimate(operation), LEVELS[operation.level]
    return title if expected is None else f"{title} (about {duration(expected.seconds)})"
