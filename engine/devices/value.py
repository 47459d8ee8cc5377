"""What decides how fast a token is on a device, and the devices that are known by their makers' figures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import InvalidSpecError

_PRESETS: Final = Path(__file__).with_name("presets.json")


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
