"""What each format of an export does with the model: which weights it writes, and how they are checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from engine.errors import ExportError
from engine.export.dense import export_dense, multiplied_out, without_factors
from engine.export.factored import export_factored
from engine.export.specs import ExportFormat
from engine.export.verification import take_logits, verify
from engine.export.weights import stored_bytes
from engine.model.experts import FactoredStack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from engine.export.specs import ExportSpec
    from engine.export.verification import Verification
    from engine.progress import Report
    from engine.types import Mlp


@dataclass(frozen=True, slots=True)
class Written:
    """What a folder holds, once it is verified.

    Attributes:
        verified: how it compares with the model here.
        weight_bytes: stored.
        params: of the model, before any of its weights are rounded to integers.
        rank_pattern: name of a factored linear module -> its rank.
    """

    verified: Verification
    weight_bytes: int
    params: int
    rank_pattern: Mapping[str, int]


class Writer(Protocol):
    """One format."""

    def prepare(self, dense: nn.Module, compressed: nn.Module) -> nn.Module:
        """Return the module whose tensors are written.

        Raises:
            ExportError: the format cannot hold the compressed model.
        """
        ...

    def write(self, module: nn.Module, tokenizer: Any, folder: Path, report: Report) -> Verification:
        """Write a prepared module and return how what was written compares with it in a fresh process.

        Raises:
            ExportError: it does not run there as it does in memory.
            OSError: the folder cannot be written.
        """
        ...

    def weight_bytes(self, module: nn.Module, folder: Path) -> int:
        """Return the bytes of the weights that were written."""
        ...


class FactoredWriter:
    """Factors, and the code that runs them."""

    def prepare(self, dense: nn.Module, compressed: nn.Module) -> nn.Module:  # noqa: ARG002
        """Return the compressed model."""
        return compressed

    def write(self, module: nn.Module, tokenizer: Any, folder: Path, report: Report) -> Verification:
        """Write a folder for transformers with code of its own."""
        export_factored(module, tokenizer, folder)
        return _opened(module, folder, report, runs_own_code=True)

    def weight_bytes(self, module: nn.Module, folder: Path) -> int:  # noqa: ARG002
        """Return the bytes of all tensors, column orders included."""
        return stored_bytes(module)


class DenseWriter:
    """Products of the factors as weights of the original architecture.

    Args:
        mlps: of the dense model.
    """

    def __init__(self, mlps: Sequence[Mlp]) -> None:
        self.mlps = mlps

    def prepare(self, dense: nn.Module, compressed: nn.Module) -> nn.Module:
        """Return the dense model with the products in it."""
        return multiplied_out(dense, compressed, self.mlps)

    def write(self, module: nn.Module, tokenizer: Any, folder: Path, report: Report) -> Verification:
        """Write a folder as transformers does."""
        export_dense(module, tokenizer, folder)
        return _opened(module, folder, report, runs_own_code=False)

    def weight_bytes(self, module: nn.Module, folder: Path) -> int:  # noqa: ARG002
        """Return the bytes of all tensors."""
        return stored_bytes(module)


class OnnxWriter:
    """A graph of the factors.

    Args:
        is_rounded: whether weights are rounded to 8 bits.
    """

    def __init__(self, *, is_rounded: bool) -> None:
        self.is_rounded = is_rounded

    def prepare(self, dense: nn.Module, compressed: nn.Module) -> nn.Module:  # noqa: ARG002
        """Return the compressed model."""
        if any(isinstance(part, FactoredStack) for part in compressed.modules()):
            raise ExportError(
                "The map has experts at a rank, which run as grouped products that a graph does not hold; export it "
                "with the format factored, or leave the experts dense."
            )
        return compressed

    def write(self, module: nn.Module, tokenizer: Any, folder: Path, report: Report) -> Verification:
        """Write a graph, and the code that generates with it."""
        from engine.export.onnx.writer import export_onnx

        return export_onnx(module, tokenizer, folder, report, is_rounded=self.is_rounded)

    def weight_bytes(self, module: nn.Module, folder: Path) -> int:  # noqa: ARG002
        """Return the bytes of the graph and its weights."""
        from engine.export.onnx.writer import graph_bytes

        return graph_bytes(folder)


class GgufWriter:
    """One file of the original architecture for llama.cpp: products of factors, and MLPs as wide as they are.

    Args:
        dtype: of its matrices.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def prepare(self, dense: nn.Module, compressed: nn.Module) -> nn.Module:
        """Return the compressed model with products in the place of factors."""
        return without_factors(dense, compressed)

    def write(self, module: nn.Module, tokenizer: Any, folder: Path, report: Report) -> Verification:
        """Write a file with weights and tokenizer."""
        from engine.export.gguf.writer import export_gguf

        return export_gguf(module, tokenizer, folder, report, self.dtype)

    def weight_bytes(self, module: nn.Module, folder: Path) -> int:  # noqa: ARG002
        """Return the bytes of the file."""
        return sum(file.stat().st_size for file in folder.glob("*.gguf"))


def writer_of(spec: ExportSpec, mlps: Sequence[Mlp]) -> Writer:
    """Return the writer of what was asked for, of a model with these MLPs."""
    if spec.format is ExportFormat.ONNX:
        return OnnxWriter(is_rounded=spec.dtype == "int8")
    if spec.format is ExportFormat.GGUF:
        return GgufWriter(spec.own_dtype or "float16")
    return FactoredWriter() if spec.format is ExportFormat.FACTORED else DenseWriter(mlps)


def _opened(module: nn.Module, folder: Path, report: Report, *, runs_own_code: bool) -> Verification:
    report("verify", 0.6, "Running the model in memory")
    reference = take_logits(module)
    report("verify", 0.7, "Opening the folder in a fresh process")
    return verify(folder, reference, runs_own_code=runs_own_code)
