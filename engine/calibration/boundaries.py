"""What decoder layers hand to each other, kept for every batch: in memory, or in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load, save_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Place = tuple[str, int, int]
    """What is kept, of which layer, of which batch."""


class Boundaries:
    """Lists of tensors by place, each taken back as it was put.

    Args:
        folder: to keep them in; ``None`` for memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._kept: dict[Place, dict[str, torch.Tensor]] = {}
        self._lengths: dict[Place, int] = {}

    def put(self, place: Place, tensors: Sequence[torch.Tensor | None]) -> None:
        """Keep tensors."""
        kept = {str(i): t.detach().cpu().contiguous() for i, t in enumerate(tensors) if t is not None}
        self._lengths[place] = len(tensors)
        if self._folder is None:
            self._kept[place] = kept
        else:
            save_file(kept, self._file(place))

    def get(self, place: Place, device: torch.device) -> list[torch.Tensor | None]:
        """Return them on a device."""
        kept = self._kept[place] if self._folder is None else load(self._file(place).read_bytes())
        found = (kept.get(str(i)) for i in range(self._lengths[place]))
        return [None if tensor is None else tensor.to(device) for tensor in found]

    def drop(self, place: Place) -> None:
        """Forget them."""
        del self._lengths[place]
        if self._folder is None:
            del self._kept[place]
        else:
            self._file(place).unlink()

    def _file(self, place: Place) -> Path:
        assert self._folder is not None
        return self._folder / ("-".join(map(str, place)) + ".safetensors")
