"""Columns that several tables have; each says what its number is a fraction of."""

from __future__ import annotations

import streamlit as st

from engine.results.words import TIMES

_number = st.column_config.NumberColumn
_RATIO = f"%.3f {TIMES}"

KEPT = _number("Kept", format="percent", help="Fraction of the compressible parameters.")
MB = _number("MB", format="%.1f", help="Whole model at float16, column orders included.")
PREDICTED = _number("Predicted ÷ dense", format=_RATIO, help="Predicted perplexity over that of the dense model.")
LOW = _number("at least", format=_RATIO, help="Lower end of the 90 % interval.")
HIGH = _number("at most", format=_RATIO, help="Upper end of the 90 % interval.")
MEASURED = _number("Measured ÷ dense", format=_RATIO, help="Measured perplexity over that of the dense model.")
