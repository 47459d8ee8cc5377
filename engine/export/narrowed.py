"""The models that ``compress`` narrows on the way to smaller ones: what their folders among the exports are called."""

from __future__ import annotations

import re
from pathlib import Path

_DIGITS = 12


def narrowed_on_the_way(fingerprint: str) -> str:
    """Return the name of the folder of a model that is narrowed on the way to a smaller one."""
    return f"narrowed-{fingerprint[:_DIGITS]}"


def is_narrowed_on_the_way(location: str) -> bool:
    """Return whether a model's place is such a folder."""
    return re.fullmatch(rf"narrowed-[0-9a-f]{{{_DIGITS}}}", Path(location).name) is not None
