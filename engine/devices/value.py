"""Devices: presets with their sources, and this machine as it was measured; free of torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.errors import InvalidSpecError
from engine.registry import unknown_name

if TYPE_CHECKING:
    from engine.settings import Home

THIS_MACHINE: Final = "this-machine"
MEASURED_TYPES: Final = ("float32", "bfloat16")
"""Types that arithmetic is measured in; weights of 16 bits and less are run in the second."""
_PRESETS: Final = Path(__file__).with_name("presets.json")
_MEASURED: Final = "this-machine.json"


@dataclass(frozen=True, slots=True)
class Device:
    """What decides how fast a token is.

    Attributes:
        title: for people.
        memory_bytes: for weights and cache.
        bytes_per_s: read from memory.
        multiply_adds_per_s: of matrix products.
        kernel_s: what an operation takes however small it is.
        source: where the figures are from.
    """

    title: str
    memory_bytes: float
    bytes_per_s: float
    multiply_adds_per_s: float
    kernel_s: float
    source: str

    def __post_init__(self) -> None:
        """Check that every figure is above 0."""
        for name in ("memory_bytes", "bytes_per_s", "multiply_adds_per_s", "kernel_s"):
            if not getattr(self, name) > 0:
                raise InvalidSpecError(
                    f"The device {self.title} has {name} {getattr(self, name)}; expected more than 0."
                )


def presets() -> dict[str, Device]:
    """Return the known devices by name."""
    return {name: Device(**figures) for name, figures in json.loads(_PRESETS.read_text(encoding="utf-8")).items()}


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
