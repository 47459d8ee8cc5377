"""Devices by name: presets, and this machine as it was measured; free of torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from engine.devices.value import Device, presets
from engine.errors import InvalidSpecError
from engine.registry import unknown_name

if TYPE_CHECKING:
    from engine.settings import Home

THIS_MACHINE: Final = "this-machine"
MEASURED_TYPES: Final = ("float32", "bfloat16")
"""Types that arithmetic is measured in; weights of 16 bits and less are run in the second."""
_MEASURED: Final = "this-machine.json"


def devices(home: Home, dtype: str) -> dict[str, Device]:
    """Return this machine, if it was measured, and the presets.

    Args:
        home: where the measurement is.
        dtype: type that weights are stored in, which decides the arithmetic of this machine.
    """
    measured = read_measured(home)
    own = measured.get(dtype, measured.get(MEASURED_TYPES[-1]))
    return ({} if own is None else {THIS_MACHINE: own}) | presets()


def get_device(home: Home, name: str, dtype: str) -> Device:
    """Return a device by name.

    Raises:
        InvalidSpecError: there is none, or this machine was not measured.
    """
    known = devices(home, dtype)
    if name == THIS_MACHINE and name not in known:
        raise InvalidSpecError("This machine was not measured yet; run: rankscope devices --measure")
    if name not in known:
        raise InvalidSpecError(unknown_name("device", name, known))
    return known[name]


def read_measured(home: Home) -> dict[str, Device]:
    """Return this machine by number type; nothing where it was not measured."""
    path = home.root / _MEASURED
    if not path.is_file():
        return {}
    return {dtype: Device(**figures) for dtype, figures in json.loads(path.read_text(encoding="utf-8")).items()}


def write_measured(home: Home, measured: dict[str, Device]) -> None:
    """Keep what was measured of this machine."""
    home.root.mkdir(parents=True, exist_ok=True)
    text = json.dumps({dtype: asdict(device) for dtype, device in measured.items()}, indent=2)
    (home.root / _MEASURED).write_text(text + "\n", encoding="utf-8")
