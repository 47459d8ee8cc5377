"""The operation ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from engine.errors import ExportError
from engine.export.new_folder import require_new
from engine.export.onnx.needed import require_onnx
from engine.export.record import finished_export
from engine.export.specs import ExportDtype, ExportFormat, ExportSpec
from engine.operations._base import setting
from engine.operations._subjects import OnRankMap, named_maps

if TYPE_CHECKING:
    from cache import Store
    from engine.export.outcome import ExportedModel
    from engine.progress import Report
    from engine.settings import Home


class Export(OnRankMap):
    """Export the compressed model, and open it in a fresh process before saying so."""

    name: ClassVar[str] = "export"

    folder: str = Field(description="Where to write; new or empty.")
    format: ExportFormat = setting(
        ExportSpec,
        "format",
        "factored (small), dense (ordinary weights), onnx (a graph of the factors) or gguf (for llama.cpp).",
    )
    dtype: ExportDtype = setting(
        ExportSpec,
        "dtype",
        "Type of the weights; auto: the checkpoint's own (onnx: float32, gguf: float16); int8: onnx and gguf.",
    )
    refinement: str | None = setting(ExportSpec, "refinement", "Id of refined factors of this map, or its start.")

    def check(self) -> None:
        """Check that the text is a rank map, the type one of the format's, and the folder new or this export's own."""
        rank_map, folder, spec = self.parsed_map().to_json(), Path(self.folder), self.into(ExportSpec)
        if finished_export(folder, self.analysis, rank_map, spec) is not None:
            return
        require_new(folder)
        if spec.format is ExportFormat.ONNX:
            require_onnx()

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        return f"Export {named_maps(store, self.analysis, [self.parsed_map()])} as {Path(self.folder).name}"

    def run(self, home: Home, report: Report) -> ExportedModel:
        """Export; return what was written and how it is loaded."""
        from engine.pipeline.export import export

        rank_map, folder, spec = self.parsed_map(), Path(self.folder), self.into(ExportSpec)
        try:
            return export(home, self.analysis, rank_map, folder, spec, report)
        except ExportError:
            finished = finished_export(folder, self.analysis, rank_map.to_json(), spec)
            if finished is None:
                raise
            return finished  # by another job, meanwhile
