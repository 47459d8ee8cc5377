"""Round the weights of a written graph to 8 bits; activations are rounded when it runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine.export.onnx.graph import GRAPH


def quantize_graph(folder: Path) -> None:
    """Put the graph with int8 weights, a scale per output, in the place of the float32 one.

    Raises:
        OSError: the folder cannot be written.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        rounded = Path(scratch) / GRAPH
        quantize_dynamic(
            folder / GRAPH, rounded, per_channel=True, weight_type=QuantType.QInt8, use_external_data_format=True
        )
        graph = onnx.load(rounded)
    for file in (folder / GRAPH, folder / f"{GRAPH}.data"):
        file.unlink()
    onnx.save_model(
        graph, folder / GRAPH, save_as_external_data=True, all_tensors_to_one_file=True, location=f"{GRAPH}.data"
    )
