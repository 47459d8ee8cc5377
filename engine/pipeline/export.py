"""Export a rank map's model as a folder, verified in a fresh process before it appears."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from engine.errors import ExportError, InvalidSpecError
from engine.export.card import CardFacts, loading_lines, stated_licence, write_card
from engine.export.factored import original_classes
from engine.export.new_folder import appearing, require_new
from engine.export.outcome import ExportedModel
from engine.export.record import RANK_MAP, finished_export, size_of, write_record
from engine.export.specs import EXPORTED_BYTES, ExportFormat
from engine.export.weights import stored_bytes
from engine.methods.byte_budget import blocks_at_bits
from engine.methods.cost import cost_of
from engine.model.demo import DEMO_LICENCES
from engine.model.module import dtype_of
from engine.pipeline.opened import OpenedAnalysis, reopen_folder
from engine.pipeline.reading.analyses import load_analysis, same_factors
from engine.pipeline.reading.results import measured_row, results
from engine.pipeline.written import predicted_bytes, require_writable, stored_dtype, write_export
from engine.progress import part_of
from engine.rank_map.document import check_rank_map, parse_rank_map
from engine.rank_map.identity import decided
from engine.specs import DTYPES, ModelSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cache import Key, Store
    from engine.analysis.value import Analysis
    from engine.export.specs import ExportSpec
    from engine.model.sources import ModelFolder
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.results.rows import PerplexityResult, TaskResult
    from engine.settings import Home


def export(
    home: Home,
    analysis_id: str,
    rank_map: RankMap,
    folder: Path,
    spec: ExportSpec,
    report: Report,
) -> ExportedModel:
    """Write the model a rank map makes to ``folder``, open it in a fresh process, and return what came out.

    Everything runs on the CPU. The folder appears when it has been verified; until then, and after any failure,
    nothing is there. One that an equal request has finished is left as it is.

    Args:
        home: where everything is stored.
        analysis_id: whose factors the map selects.
        rank_map: of the analysed model.
        folder: missing, empty, or finished.
        spec: format, type and refinement.
        report: told every step.

    Raises:
        ExportError: the folder is taken, the format stores no bits of blocks, or what was written does not run as
            the model in memory does.
        ResourceError: the disk is full, or the model does not fit into memory and the format needs it whole.
        RankScopeError: the analysis or its model is not there any more, or the map does not fit.
    """
    began = time.monotonic()
    store = home.store
    analysis = load_analysis(store, analysis_id)
    check_rank_map(rank_map, analysis.inventory, analysis.about["model_fingerprint"])
    if rank_map.is_rounded and spec.format is not ExportFormat.FACTORED:
        raise ExportError(
            f"The rank map has bits of its own for its blocks, which the format {spec.format} does not store; export "
            "it with the format factored, or export a map without them, for example as an int8 graph or file."
        )
    if rank_map.is_rounded and spec.refinement is not None:
        raise ExportError("Refined factors have no bits of their own; export the map without the refinement.")
    refinement = _find_refinement(store, analysis, rank_map, spec.refinement)
    if finished := finished_export(folder, analysis.id, rank_map.to_json(), spec):
        report("write", 1.0, "This export exists already")
        return finished
    require_new(folder)
    base = reopen_folder(home, analysis, part_of(report, 0.0, 0.05))
    cost, dtype = cost_of(analysis, rank_map), _computed_dtype(base, spec)
    # Beside the dense model lie the compressed one and what the fresh process opens of it.
    written_fraction = cost.kept_fraction if spec.format.keeps_factors else 1.0
    copies = 1 + 2 * written_fraction * spec.format.is_by_layer
    told = part_of(report, 0.0, 0.2)
    opened = OpenedAnalysis(home, analysis, base, told, dtype=dtype, device="cpu", copies=copies)
    require_writable(opened, spec)
    architecture = original_classes(opened.dense.module).causal
    dtype, inventory = stored_dtype(opened, spec), opened.dense.inventory
    itemsize = EXPORTED_BYTES[dtype]
    dense_module = opened.dense.module
    dense_weight_bytes = stored_bytes(dense_module) * itemsize // dtype_of(dense_module).itemsize
    with appearing(folder) as partial:
        written = write_export(opened, rank_map, refinement, spec, partial, report)
        verified, params = written.verified, written.params
        predicted_weight_bytes = predicted_bytes(opened, rank_map, spec, params)
        del opened, dense_module
        perplexities, tasks = _measured(store, analysis, rank_map, refinement)
        facts = CardFacts(
            model=analysis.about["model"],
            hub_id=base.spec.location if base.spec.source is ModelSource.HUB else None,
            licence=_licence(base),
            architecture=architecture,
            method=rank_map.method,
            metric=rank_map.metric,
            refined=None if refinement is None else store.read(refinement).json("refinement.json")["kind"],
            kept_fraction=cost.kept_fraction,
            params=params,
            dense_params=inventory.total_params,
            format=spec.format,
            dtype=dtype,
            weight_bytes=written.weight_bytes,
            dense_weight_bytes=dense_weight_bytes,
            difference=verified.max_logit_difference,
            same_top=verified.same_top,
            versions=verified.versions,
            rank_pattern=written.rank_pattern,
            perplexities=perplexities,
            tasks=tasks,
            blocks_at_bits=blocks_at_bits(rank_map) if rank_map.is_rounded else {},
        )
        (partial / "README.md").write_text(write_card(facts), encoding="utf-8")
        (partial / RANK_MAP).write_text(rank_map.to_json(), encoding="utf-8")
        for path in _terms(base):
            shutil.copyfile(path, partial / path.name)
        exported = ExportedModel(
            folder=str(folder),
            format=spec.format,
            dtype=dtype,
            architecture=architecture,
            analysis=analysis.id,
            model=facts.model,
            method=facts.method,
            metric=facts.metric,
            refinement=None if refinement is None else refinement.fingerprint,
            kept_fraction=facts.kept_fraction,
            model_params=facts.params,
            dense_params=facts.dense_params,
            saves_memory=params < inventory.total_params,
            weight_bytes=written.weight_bytes,
            predicted_weight_bytes=predicted_weight_bytes,
            dense_weight_bytes=dense_weight_bytes,
            folder_bytes=size_of(partial),
            max_logit_difference=verified.max_logit_difference,
            largest_logit=verified.largest_logit,
            n_verified_tokens=verified.n_tokens,
            n_measurements=len(perplexities),
            load=loading_lines(str(folder), spec.format),
            seconds=round(time.monotonic() - began, 2),
            same_top=verified.same_top,
        )
        write_record(partial, spec, exported)
        report("write", 0.95, "Putting the folder in place")
    report("write", 1.0, "Exported")
    return exported


def _computed_dtype(base: ModelFolder, spec: ExportSpec) -> str:
    """Return the type a model is opened in: as it is stored, or float32 where weights are rounded afterwards."""
    if spec.format is ExportFormat.GGUF or spec.own_dtype == "int8":
        return "float32"
    return spec.own_dtype or _stored_dtype(base)


def _stored_dtype(base: ModelFolder) -> str:
    """Return the type a checkpoint names, or ``auto`` if it names none that can be exported."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(base.path, trust_remote_code=base.spec.trust_remote_code)
    named = str(config.dtype).removeprefix("torch.")
    return named if named in DTYPES else "auto"


def _find_refinement(store: Store, analysis: Analysis, rank_map: RankMap, prefix: str | None) -> Key | None:
    if prefix is None:
        return None
    fitting, alike = [], same_factors(store, analysis.id)
    for key in store.keys("refinement"):
        artifact = store.read(key)
        if artifact.manifest.about["analysis"] in alike:
            refined = parse_rank_map(artifact.path("rank-map.json").read_bytes())
            if decided(refined) == decided(rank_map):
                fitting.append(key)
    chosen = [key for key in fitting if prefix and key.fingerprint.startswith(prefix)]
    if len(chosen) != 1:
        known = ", ".join(key.fingerprint[:12] for key in fitting) or "none; run 'rankscope refine'"
        raise InvalidSpecError(
            f"{'Several refinements' if chosen else 'No refinement'} of this rank map "
            f"{'start' if chosen else 'starts'} with {prefix!r}; there are: {known}."
        )
    return chosen[0]


def _measured(
    store: Store, analysis: Analysis, rank_map: RankMap, refinement: Key | None
) -> tuple[tuple[PerplexityResult, ...], tuple[TaskResult, ...]]:
    """Return the perplexities and the scores of exactly this map and refinement, newest first."""
    refined = None if refinement is None else refinement.fingerprint
    row = measured_row(results(store, analysis.id), rank_map, refined)
    return ((), ()) if row is None else (row.perplexities, row.tasks)


def _terms(base: ModelFolder) -> Iterator[Path]:
    """Yield the model's files of terms; a link in somebody's folder could lead to any file of this machine."""
    for path in (*base.path.glob("LICENSE*"), *base.path.glob("NOTICE*")):
        # The hub's client keeps files elsewhere and links to them.
        if path.is_file() and (base.spec.source is ModelSource.HUB or not path.is_symlink()):
            yield path


def _licence(base: ModelFolder) -> str | None:
    if base.spec.source is ModelSource.DEMO:
        return DEMO_LICENCES[0].licence
    return stated_licence(base.path)
