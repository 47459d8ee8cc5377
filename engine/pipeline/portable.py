"""Carrying an analysis to another machine: what belongs to it, and whether what arrives is one; free of torch."""

from __future__ import annotations

import os
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from cache import Key, NotPortableError, StoreError, export_artifacts, import_artifacts, read_stage
from engine.errors import RankScopeError
from engine.pipeline.keys import refined_layer_key
from engine.pipeline.reading.analyses import analysis_spec, find_analysis, read_analysis
from engine.pipeline.removal import factors_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cache import Artifact, DirectoryStore, Imported, Store

_MEASURED: Final = (
    *("reference", "evaluation", "token-losses", "block-losses", "task-scores", "summaries", "cost", "memory"),
    *("sensitivity", "comparison", "subset", "trial", "unread-text", "rounding", "post-training"),
)
"""Stages of what is computed with an analysis and says so."""


def export_analysis(store: Store, prefix: str, file: Path, *, with_factors: bool = True) -> int:
    """Write an analysis, its factors and what was measured with it into one file; return the file's size.

    Args:
        store: holds them.
        prefix: the id of the analysis, or the start of it.
        file: the archive; replaced in one step if it exists.
        with_factors: without them, and without refined ones, the analysis can be explored and ranks allocated, but no
            model compressed.

    Raises:
        RankScopeError: there is no such analysis, or the file cannot be written.
        StoreError: something of it is damaged.
    """
    key = find_analysis(store, prefix)
    artifact = store.read(key)
    model = read_analysis(artifact).about["model_fingerprint"]

    def found(stage: str) -> Iterator[Key]:
        yield from read_stage(store, stage, lambda a: a.key if _is_about(a, key.fingerprint, model) else None)[0]

    factors: list[Key] = []
    if with_factors:
        factors += (Key("factors", fingerprint) for fingerprint in sorted(factors_of(artifact)))
        for refinement in found("refinement"):
            factors += (*_layers_among(store, refinement), refinement)
    measured = [one for stage in _MEASURED for one in found(stage)]
    target = Path(os.path.realpath(file))
    if target.exists() and not target.is_file():
        raise RankScopeError(f"{file} is no regular file; choose another.")
    try:
        return export_artifacts(store, [*factors, *measured, key], target)
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
        own = {Key("factors", fingerprint) for fingerprint in factors_of(last)}
        model = str(analysis.about["model_fingerprint"])
    except (StoreError, ValidationError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotPortableError(f"{file} cannot be imported: its analysis cannot be read ({error!r}).") from error
    own |= {a.key for a in others if a.key.stage in (*_MEASURED, "refinement") and _is_about(a, analysis.id, model)}
    keys = {artifact.key for artifact in others}
    own |= {layer for key in own if key.stage == "refinement" for layer in _layers_among(keys, key)}
    for artifact in others:
        if artifact.key not in own:
            raise NotPortableError(f"{file} cannot be imported: {artifact.key} does not belong to its analysis.")
    return analysis.id


def _is_about(artifact: Artifact, analysis_id: str, model: str) -> bool:
    """Whether something was computed with an analysis, or measured of its dense model."""
    about = artifact.manifest.about
    is_of_dense = "analysis" in about and about["analysis"] is None and about.get("model_fingerprint") == model
    return is_of_dense or about.get("analysis") == analysis_id


def _layers_among(keys: Store | set[Key], refinement: Key) -> Iterator[Key]:
    """Yield those of the keys that are layers of a refinement, which do not all say of which analysis."""
    return takewhile(keys.__contains__, (refined_layer_key(refinement, index) for index in count()))
