"""Carrying an analysis to another machine: what belongs to it, and whether what arrives is one; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from cache import Key, NotPortableError, StoreError, export_artifacts, import_artifacts, read_stage
from engine.errors import RankScopeError
from engine.pipeline.reading.analyses import analysis_spec, find_analysis, read_analysis
from engine.pipeline.removal import factors_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cache import Artifact, DirectoryStore, Imported, Store

_MEASURED: Final = (
    *("reference", "evaluation", "token-losses", "block-losses", "task-scores", "summaries", "cost", "memory"),
    *("sensitivity", "comparison", "subset", "trial", "refined-layer", "refinement", "post-training"),
)
"""Stages of what is computed with an analysis and says so."""


def export_analysis(store: Store, prefix: str, file: Path, *, with_factors: bool = True) -> int:
    """Write an analysis, its factors and what was measured with it into one file; return the file's size.

    Args:
        store: holds them.
        prefix: the id of the analysis, or the start of it.
        file: the archive; replaced in one step if it exists.
        with_factors: without them the analysis can be explored and ranks allocated, but no model compressed.

    Raises:
        RankScopeError: there is no such analysis, or the file cannot be written.
        StoreError: something of it is damaged.
    """
    key = find_analysis(store, prefix)
    artifact = store.read(key)
    factors = [Key("factors", fingerprint) for fingerprint in sorted(factors_of(artifact))] if with_factors else []
    model = read_analysis(artifact).about["model_fingerprint"]
    measured = [
        one
        for stage in _MEASURED
        for one in read_stage(store, stage, lambda a: a.key if _is_about(a, key.fingerprint, model) else None)[0]
    ]
    try:
        return export_artifacts(store, [*factors, *measured, key], file)
    except OSError as error:
        raise RankScopeError(f"The file {file} cannot be written ({error.strerror}); choose another.") from error


def import_analysis(store: DirectoryStore, file: Path) -> tuple[str, Imported]:
    """Take over an analysis that was exported; return its id and what was new.

    Raises:
        RankScopeError: the file cannot be read.
        NotPortableError: it is not a whole analysis and nothing else; nothing was taken over.
    """
    found: list[str] = []

    def check(artifacts: Sequence[Artifact]) -> None:
        found.append(_checked(artifacts, file))

    try:
        imported = import_artifacts(store, file, check)
    except OSError as error:
        raise RankScopeError(f"The file {file} cannot be imported ({error.strerror}).") from error
    return found[0], imported


def _checked(artifacts: Sequence[Artifact], file: Path) -> str:
    """See that artifacts are one analysis, at the end, with what belongs to it; return its id."""
    *others, last = artifacts
    if last.key.stage != "analysis":
        raise NotPortableError(f"{file} cannot be imported: it does not end with an analysis.")
    try:
        analysis = read_analysis(last)
        analysis_spec(analysis)
        factors, model = factors_of(last), str(analysis.about["model_fingerprint"])
    except (StoreError, ValidationError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotPortableError(f"{file} cannot be imported: its analysis cannot be read ({error!r}).") from error
    for artifact in others:
        is_factor = artifact.key.stage == "factors" and artifact.key.fingerprint in factors
        is_measured = artifact.key.stage in _MEASURED and _is_about(artifact, analysis.id, model)
        if not is_factor and not is_measured:
            raise NotPortableError(f"{file} cannot be imported: {artifact.key} does not belong to its analysis.")
    return analysis.id


def _is_about(artifact: Artifact, analysis_id: str, model: str) -> bool:
    """Whether something was computed with an analysis, or measured of its dense model."""
    about = artifact.manifest.about
    is_of_dense = "analysis" in about and about["analysis"] is None and about.get("model_fingerprint") == model
    return is_of_dense or about.get("analysis") == analysis_id
