"""What an export is asked to be; free of torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from engine.errors import InvalidSpecError
from engine.formats import BYTES_PER_PARAM
from engine.specs import DTYPES, AutoDtype

ExportDtype = Literal[AutoDtype, "int8"]
"""A number type that weights are stored in; ``int8`` rounds those of matrices."""

EXPORTED_BYTES: Final = {**BYTES_PER_PARAM, "int8": 1}
"""Type of an export's weights -> bytes of one, about; what is rounded has scales, too."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class ExportFormat(StrEnum):
    """What an exported folder stores."""

    FACTORED = "factored"
    DENSE = "dense"
    ONNX = "onnx"
    GGUF = "gguf"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The types its weights can be stored in; what runs graphs and files has no arithmetic in bfloat16 on a CPU."""
        return ("float32", "float16", "int8") if self in {ExportFormat.ONNX, ExportFormat.GGUF} else DTYPES

    @property
    def is_by_layer(self) -> bool:
        """Whether it can be written one decoder layer after the other."""
        return self in {ExportFormat.FACTORED, ExportFormat.DENSE}

    @property
    def keeps_factors(self) -> bool:
        """Whether factors are stored as such; their products take the dense model's room."""
        return self in {ExportFormat.FACTORED, ExportFormat.ONNX}


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """How a compressed model is written.

    Attributes:
        format: factors, their products, a graph of the factors, or a file for llama.cpp of their products.
        dtype: of the weights; ``auto`` is the checkpoint's own, float32 in a graph and float16 in a file for llama.cpp.
        refinement: start of the id of refined factors; ``None``: as the analysis computed them.
    """

    format: ExportFormat = ExportFormat.FACTORED
    dtype: str = "auto"
    refinement: str | None = None

    def __post_init__(self) -> None:
        """Check that the format can be in this type."""
        expected = ("auto", *self.format.dtypes)
        if self.dtype not in expected:
            raise InvalidSpecError(
                f"The dtype {self.dtype!r} was given for the format {self.format}; expected one of "
                f"{', '.join(expected)}."
            )

    @property
    def own_dtype(self) -> str | None:
        """The type that is stored, where the checkpoint's does not decide it."""
        usual = {ExportFormat.ONNX: "float32", ExportFormat.GGUF: "float16"}.get(self.format)
        return usual if self.dtype == "auto" else self.dtype


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
