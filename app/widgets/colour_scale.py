"""How a heatmap's colours follow its values."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from app.charts import spans_orders
from app.widgets.pickers import option_picker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ColourScale(StrEnum):
    """A choice of scale."""

    AUTOMATIC = "auto"
    LINEAR = "linear"
    LOGARITHMIC = "log"

    def is_log(self, values: NDArray[np.float64]) -> bool:
        """Whether the colours of these values follow their logarithm."""
        return self is ColourScale.LOGARITHMIC or (self is ColourScale.AUTOMATIC and spans_orders(values))


def colour_scale() -> ColourScale:
    """Ask for a scale; the same one on every page, kept in the URL."""
    chosen = option_picker(
        "Colours",
        {scale: scale.name.capitalize() for scale in ColourScale},
        key="colours",
        help_text="Automatic: logarithmic where values lie more than two orders of ten apart.",
        in_url=True,
    )
    return ColourScale(chosen)
