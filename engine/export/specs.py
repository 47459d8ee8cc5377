"""What an export is asked to be; free of torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from engine.errors import InvalidSpecError
from engine.specs import AUTO_DTYPES

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class ExportFormat(StrEnum):
    """What an exported folder stores."""

    FACTORED = "factored"
    DENSE = "dense"


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """How a compressed model is written.

    Attributes:
        format: factors, or their products.
        dtype: of the weights; ``auto`` is the checkpoint's own.
        refinement: start of the id of refined factors; ``None``: as the analysis computed them.
    """

    format: ExportFormat = ExportFormat.FACTORED
    dtype: str = "auto"
    refinement: str | None = None

    def __post_init__(self) -> None:
        """Check the names."""
        if self.dtype not in AUTO_DTYPES:
            raise InvalidSpecError(f"The dtype {self.dtype!r} was given; expected one of {', '.join(AUTO_DTYPES)}.")


def check_export_name(name: str) -> str:
    """Return a name that is one plain folder below the exports.

    Raises:
        InvalidSpecError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise InvalidSpecError(
            f"The name {name[:100]!r} was given; expected 1 to 80 letters, digits, dots, dashes and underscores that "
            "start with a letter or digit."
        )
    return name
