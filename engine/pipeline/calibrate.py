"""Take the statistics of an opened model's layers and store them, each as soon as it is known."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from cache import write_json
from engine.calibration.boundaries import Boundaries
from engine.calibration.passes import collect_statistics, layer_bytes, plan_passes
from engine.calibration.streamed import StreamedPass, boundary_bytes
from engine.machine import return_freed_memory
from engine.pipeline.plan import states_in_memory
from engine.progress import part_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from cache import DirectoryStore, Key, Store
    from engine.calibration.statistics import LayerStatistics
    from engine.model.opening import OpenModel
    from engine.progress import Report
    from engine.specs import AnalysisSpec


def calibrate(
    spec: AnalysisSpec,
    model: OpenModel,
    tokens: torch.Tensor,
    missing: Sequence[int],
    layer_keys: dict[int, Key],
    store: Store,
    report: Report,
    *,
    n_start: int,
    memory_bytes: int,
) -> None:
    """Collect and store the statistics of the ``missing`` layers, as many at once as memory allows."""
    passes = plan_passes(model.inventory, missing, len(tokens), memory_bytes)
    held = max(layer_bytes(model.inventory, layers, len(tokens)) for layers in passes)
    times = "one pass" if len(passes) == 1 else f"{len(passes)} passes"
    report("plan", 0.0, f"Plan: {times} over {tokens.numel():,} tokens, {held / 1e9:.2f} GB of statistics at once")
    for index, layers in enumerate(passes):
        scaled = part_of(report, index / len(passes), (index + 1) / len(passes))
        statistics, nll = collect_statistics(
            model.module, model.inventory, tokens, spec.calibration, layers, scaled, n_start=n_start
        )
        for layer in layers:
            _keep(spec, statistics.pop(layer), nll, layer_keys[layer], store)


def calibrate_streamed(
    spec: AnalysisSpec,
    model: OpenModel,
    tokens: torch.Tensor,
    missing: Sequence[int],
    layer_keys: dict[int, Key],
    store: DirectoryStore,
    report: Report,
    *,
    n_start: int,
    holding: Callable[[int], contextlib.AbstractContextManager[None]],
) -> None:
    """Do the same layer by layer, keeping what layers return in memory where there is plenty, else on disk.

    ``holding`` gives the context in which a layer is in memory as it shall run.

    Raises:
        UnstreamableError: the model's layers cannot be run one at a time.
    """
    held = max(layer_bytes(model.inventory, [layer], len(tokens)) for layer in missing)
    with contextlib.ExitStack() as stack:
        in_memory = states_in_memory(boundary_bytes(model.module, tokens))
        boundaries = Boundaries(None if in_memory else stack.enter_context(store.scratch()))
        report(
            "plan",
            0.0,
            f"Plan: layer by layer over {tokens.numel():,} tokens, {held / 1e9:.2f} GB of statistics at once, what "
            f"layers return {'in memory' if in_memory else 'on disk'}",
        )
        one_pass = StreamedPass(
            model.module, holding, model.inventory, tokens, spec.calibration, boundaries, n_start=n_start
        )
        for statistics, nll in one_pass.statistics(missing, report):
            _keep(spec, statistics, nll, layer_keys[statistics.layer], store)
            del statistics  # the next layer's take its place
            return_freed_memory()


def _keep(spec: AnalysisSpec, statistics: LayerStatistics, nll: float, key: Key, store: Store) -> None:
    about = {"model": spec.model.label, "corpus": spec.corpus.label, "layer": statistics.layer}
    with store.writing(key, about) as into:
        save_file(statistics.to_tensors(), into / "statistics.safetensors")
        write_json(into / "pass.json", {"nll": nll})
