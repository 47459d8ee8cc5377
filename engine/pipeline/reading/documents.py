"""The documents of stored measurements as values; without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from engine.rank_map.identity import EVALUATION
from engine.results.json_form import from_json
from engine.results.rows import CostResult, MemoryResult, PerplexityResult, Provenance, SummaryResult, TaskResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cache import Artifact
    from engine.analysis.value import Analysis

Result = TypeVar("Result")


def read_perplexity(analysis: Analysis, artifact: Artifact) -> PerplexityResult:
    """Return a measured perplexity; what was to be expected of it needs the other maps, and is added with them.

    The dense model's loss to the last digit stands for the content of the text, whatever it is called.
    """
    run = artifact.json(EVALUATION)
    about: Mapping[str, Any] = artifact.manifest.about
    provenance = Provenance(
        artifact=str(artifact.key),
        created=artifact.manifest.created,
        model=run["model"],
        model_fingerprint=analysis.about["model_fingerprint"],
        model_revision=analysis.about["spec"]["model"].get("revision"),
        analysis=analysis.id,
        data_fingerprint=run.get("text_fingerprint"),
        seed=None,
        dtype=run["dtype"],
        device=run["device"],
        versions=run["versions"],
        seconds=about["seconds"]["evaluate"],
    )
    return PerplexityResult(
        run["corpus"],
        run["n_sequences"],
        run["n_tokens"],
        run["perplexity"],
        run["dense_perplexity"],
        run["divergence"],
        run["agreement"],
        None,
        tuple(run[name] for name in ("corpus", "n_sequences", "n_tokens", "dtype", "dense_nll")),
        provenance,
        # Parts of the demo's texts and of a hub's data sets have names of their own; a file is read whole.
        run["corpus"] == analysis.about["corpus"],
    )


def read_task(document: Mapping[str, Any], artifact: Artifact) -> TaskResult:
    """Return the scores of one task."""
    return _read(TaskResult, document, artifact)


def read_summaries(document: Mapping[str, Any], artifact: Artifact) -> SummaryResult:
    """Return the ROUGE of one set of summaries."""
    return _read(SummaryResult, {**document, "n": len(document["summaries"])}, artifact)


def read_cost(document: Mapping[str, Any], artifact: Artifact, side: str = "own") -> CostResult:
    """Return the cost of the model, or with ``side="dense"`` of the dense one measured beside it."""
    return _read(CostResult, {**document, **document[side]}, artifact)


def read_memory(document: Mapping[str, Any], artifact: Artifact) -> MemoryResult:
    """Return a peak of memory."""
    return _read(MemoryResult, document, artifact)


def read_document(kind: type[Result], artifact: Artifact) -> Result:
    """Return the document of an artifact that is named after its stage, with the artifact's id and time."""
    document = artifact.json(f"{artifact.key.stage}.json")
    return from_json(kind, {**document, "id": artifact.key.fingerprint, "created": artifact.manifest.created})


def _read(kind: type[Result], document: Mapping[str, Any], artifact: Artifact) -> Result:
    """Return a measurement whose fields are those of its document, which says where it comes from as well."""
    known = {**document, "artifact": str(artifact.key), "created": artifact.manifest.created}
    setting = (document["setting"], document["dtype"])
    return from_json(kind, {**known, "setting": setting, "provenance": known})
