"""Columns that several tables have; each says what its number is a fraction of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from engine.results.words import TIMES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import pandas as pd
    from streamlit.elements.lib.column_types import ColumnConfig

    Columns = dict[str, ColumnConfig | str | None]

_number = st.column_config.NumberColumn
_RATIO = f"%.3f {TIMES}"

PERCENT: Final = "%.1f %%"
"""How tables and sliders write numbers of a hundred, as :func:`engine.results.words.percent` does in texts."""

SMALL_PERCENT: Final = "%.3g %%"
"""The same for shares of which a table has hundreds."""


def share(label: str | None = None, *, help_text: str | None = None, is_small: bool = False) -> ColumnConfig:
    """Return a column of fractions of one, for a table that passes through :func:`in_percent`."""
    return _number(label, format=SMALL_PERCENT if is_small else PERCENT, help=help_text)


def in_percent(table: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table with its columns of shares as numbers of a hundred."""
    shares = [name for name, column in columns.items() if name in table and _is_share(column)]
    return table.assign(**{name: 100 * table[name] for name in shares})


def _is_share(column: object) -> bool:
    return isinstance(column, dict) and column["type_config"].get("format") in {PERCENT, SMALL_PERCENT}


KEPT = share("Kept", help_text="Fraction of the compressible parameters.")
MB = _number("MB", format="%.1f", help="Whole model at float16, column orders included.")
PREDICTED = _number("Predicted ÷ dense", format=_RATIO, help="Predicted perplexity over that of the dense model.")
LOW = _number("at least", format=_RATIO, help="Lower end of the 90 % interval.")
HIGH = _number("at most", format=_RATIO, help="Upper end of the 90 % interval.")
MEASURED = _number("Measured ÷ dense", format=_RATIO, help="Measured perplexity over that of the dense model.")
