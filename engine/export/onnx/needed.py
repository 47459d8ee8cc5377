"""Whether the packages of the extra ``onnx`` are installed; free of torch."""

from __future__ import annotations

from importlib.util import find_spec

from engine.errors import ExportError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """Raise a sentence unless ONNX graphs can be written and run here.

    Raises:
        ExportError: a package is missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"An ONNX export needs packages that are not installed ({', '.join(missing)}); run: "
            "pip install 'rankscope[onnx]'."
        )
