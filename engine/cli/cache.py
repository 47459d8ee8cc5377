"""``rankscope cache``: what the store holds, whether it is whole, and making room."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.table import Table

from cache import (
    DamagedArtifactError,
    Key,
    MissingArtifactError,
    NewerArtifactError,
    Store,
    StoreError,
    read_stage,
    unreadable,
)
from engine.cli._console import AsJson, artifact_store, out, print_json, warn_of_unreadable
from engine.errors import RankScopeError

_MOST_DAYS = 36_500
group = typer.Typer(help="Look after the artifact store.", no_args_is_help=True)


@group.command("list", epilog="Example: rankscope cache list --json")
def list_artifacts(as_json: AsJson = False) -> None:
    """List artifacts by stage, with their sizes."""
    store = artifact_store()
    rows = [row for key in store.keys() if (row := _described(store, key)) is not None]  # noqa: SIM118 (no mapping)
    if as_json:
        print_json({"artifacts": rows})
    else:
        by_stage: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            by_stage[row["stage"]].append(row)
        table = Table("stage", "artifacts", "MB", "unreadable")
        for stage, found in sorted(by_stage.items()):
            n_unreadable = sum(row["error"] is not None for row in found)
            megabytes = sum(row["bytes"] for row in found) / 1e6
            table.add_row(stage, str(len(found)), f"{megabytes:,.1f}", str(n_unreadable or ""))
        out.print(table)
    warn_of_unreadable()


def _described(store: Store, key: Key) -> dict[str, Any] | None:
    """Return the documented JSON of an artifact; ``None`` if it was deleted since it was listed."""
    described = {"stage": key.stage, "fingerprint": key.fingerprint, "bytes": 0, "created": "", "about": {}}
    try:
        manifest = store.read(key).manifest
    except MissingArtifactError:
        return None
    except StoreError as error:
        return {**described, "damaged": isinstance(error, DamagedArtifactError), "error": str(error)}
    whole = {"bytes": manifest.size_bytes, "created": manifest.created, "about": dict(manifest.about)}
    return {**described, **whole, "damaged": False, "error": None}


@group.command(epilog="Example: rankscope cache verify")
def verify(as_json: AsJson = False) -> None:
    """Read every artifact and compare its hashes; damaged ones are named."""
    store = artifact_store()
    faults, n_artifacts = unreadable(store), len(store.keys())
    damaged = [{"key": str(k), "error": str(e)} for k, e in faults if isinstance(e, DamagedArtifactError)]
    newer = [{"key": str(k), "error": str(e)} for k, e in faults if isinstance(e, NewerArtifactError)]
    if as_json:
        print_json({"artifacts": n_artifacts, "damaged": damaged, "newer": newer})
    else:
        for _, error in faults:
            out.print(str(error), soft_wrap=True)
        of_newer = f", {len(newer)} come from a newer RankScope" if newer else ""
        out.print(f"{n_artifacts - len(faults)} artifacts are whole, {len(damaged)} are damaged{of_newer}.")
    if faults:
        raise typer.Exit(1)


@group.command(epilog="Example: rankscope cache prune --stage factors --older-than-days 30")
def prune(
    damaged_only: Annotated[bool, typer.Option("--damaged", help="Remove artifacts whose files are damaged.")] = False,
    stage: Annotated[str, typer.Option(help="Remove artifacts of this stage, such as statistics or factors.")] = "",
    older_than_days: Annotated[
        float, typer.Option(help="With --stage: only those created before this.", min=0, max=_MOST_DAYS)
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Remove leftovers of killed writers, and what the options name; removed artifacts are computed anew."""
    store = artifact_store()
    freed, n_left = store.prune_partials(), 0
    removed: list[Key] = []
    if damaged_only:
        removed += [key for key, error in unreadable(store) if isinstance(error, DamagedArtifactError)]
    if stage:
        before = datetime.now(UTC) - timedelta(days=older_than_days)
        if not store.keys(stage):
            known = ", ".join(sorted({key.stage for key in store.keys(None)})) or "none"
            raise RankScopeError(f"No artifact of stage {stage!r} is stored; the stages here are: {known}.")
        manifests, unread = read_stage(store, stage, lambda artifact: artifact.manifest)
        n_left = 0 if damaged_only else len(unread)
        for manifest in manifests:
            if datetime.fromisoformat(manifest.created) <= before and manifest.key not in removed:
                removed.append(manifest.key)
                freed += manifest.size_bytes
    for key in removed:
        store.delete(key)
    if as_json:
        print_json({"removed": [str(key) for key in removed], "freed_bytes": freed})
    else:
        out.print(f"Removed {len(removed)} artifacts, freed {freed / 1e6:,.1f} MB.")
        if n_left:
            out.print(f"{n_left} that cannot be read were left; `rankscope cache verify` names them.")
