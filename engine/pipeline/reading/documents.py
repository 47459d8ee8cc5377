"""The documents of stored measurements as values; without torch."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from engine.evaluation.bootstrap import Interval
from engine.rank_map.identity import EVALUATION
from engine.results.rows import (
    CostResult,
    MemoryResult,
    PerplexityResult,
    Provenance,
    Score,
    SpeedResult,
    Spread,
    SummaryResult,
    TaskResult,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cache import Artifact
    from engine.analysis.value import Analysis


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
    )


def _provenance(document: Mapping[str, Any], artifact: Artifact) -> Provenance:
    own = {field.name for field in fields(Provenance)} - {"artifact", "created"}
    known = {name: document[name] for name in own}
    return Provenance(artifact=str(artifact.key), created=artifact.manifest.created, **known)


def _setting(document: Mapping[str, Any]) -> tuple[str, ...]:
    return (document["setting"], document["dtype"])


def _intervals(found: Mapping[str, Mapping[str, float]] | None) -> dict[str, Interval]:
    return {name: Interval(**values) for name, values in (found or {}).items()}


def read_task(document: Mapping[str, Any], artifact: Artifact) -> TaskResult:
    """Return the scores of one task."""
    return TaskResult(
        document["task"],
        {name: Score(**score) for name, score in document["metrics"].items()},
        _intervals(document["differences"]),
        document["n"],
        document["n_available"],
        document["config"],
        _setting(document),
        _provenance(document, artifact),
    )


def read_summaries(document: Mapping[str, Any], artifact: Artifact) -> SummaryResult:
    """Return the ROUGE of one set of summaries."""
    return SummaryResult(
        document["text"],
        len(document["summaries"]),
        _intervals(document["rouge"]),
        _intervals(document["differences"]),
        document["mean_new_tokens"],
        document["template"],
        document["chat"],
        document["max_new_tokens"],
        _setting(document),
        _provenance(document, artifact),
    )


def read_cost(document: Mapping[str, Any], artifact: Artifact, side: str = "own") -> CostResult:
    """Return the cost of the model, or with ``side="dense"`` of the dense one measured beside it."""
    same = ("prompt_tokens", "new_tokens", "repetitions", "threads")
    counts = ("prefill_multiply_adds", "decode_multiply_adds", "cache_bytes_per_token")
    speeds = tuple(
        SpeedResult(
            speed["batch_size"],
            *(Spread(**speed[name]) for name in ("prefill", "decode", "prefill_ratio", "decode_ratio")),
        )
        for speed in document[side]["speeds"]
    )
    return CostResult(
        **{name: document[name] for name in same},
        **{name: document[side][name] for name in counts},
        speeds=speeds,
        setting=_setting(document),
        provenance=_provenance(document, artifact),
    )


def read_memory(document: Mapping[str, Any], artifact: Artifact) -> MemoryResult:
    """Return a peak of memory."""
    counts = (document["peak_bytes"], document["base_bytes"], document["n_tokens"])
    return MemoryResult(*counts, _setting(document), _provenance(document, artifact))
