"""A number that an operation takes: its range and its default come from the operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from engine.operations import Operation


def whole_number_input(
    operation: type[Operation],
    name: str,
    label: str,
    *,
    key: str,
    default: int | None = None,
    help_text: str | None = None,
    disabled: bool = False,
) -> int:
    """Ask for a whole number within the range of an operation's setting.

    Args:
        operation: whose setting.
        name: of the setting.
        label: for people.
        key: of the widget.
        default: where it begins; ``None``: at the setting's default.
        help_text: ``None``: the setting's help.
        disabled: whether it only shows the number.
    """
    setting = operation.settings()[name]
    low = 1 if setting.ge is None else int(setting.ge)
    high = None if setting.le is None else int(setting.le)
    begin = int(setting.default) if default is None else default
    return int(st.number_input(label, low, high, begin, key=key, help=help_text or setting.help, disabled=disabled))
