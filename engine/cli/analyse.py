"""``rankscope analyse``: spectra, sensitivities and factors of a model."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli._console import AsJson, Detach, artifact_store, finish_job, follow, out, print_json
from engine.cli._settings import Settings, with_settings
from engine.jobs import JobQueue
from engine.operations import Analyse, AnalyseShard, submit
from engine.operations.analyse_shard import ShardResult
from engine.results.json_form import from_json
from engine.settings import home


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope analyse demo --n-sequences 64 --length 512")(analyse)


@with_settings(Analyse)
def analyse(
    model: Annotated[str, typer.Argument(help=Analyse.settings()["model"].help)],
    settings: Settings,
    queue: JobQueue,
    shards: Annotated[
        int,
        typer.Option(help="Take the statistics in as many jobs, each a share of the text; best with --engine.", min=1),
    ] = 1,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Analyse a model: spectra, sensitivities and factors of every projection."""
    operation = Analyse(model=model, **settings)
    known = operation.stored(home())
    if known is None and shards > 1:
        jobs = [submit(share, queue, artifact_store()) for share in _shares(operation, shards)]
        if detach:
            print_json({"jobs": [job.id for job in jobs]}) if as_json else out.print(f"Queued {shards} jobs")
            return
        ended = [follow(job, queue) for job in jobs]
        known = next((made for job in ended if (made := from_json(ShardResult, job.result).analysis)), None)
    if known is None:
        result = finish_job(operation, dict[str, str], queue, detach=detach, as_json=as_json)
        if result is None:
            return
        known = result["analysis"]
    if as_json:
        print_json({"analysis": known})
        return
    out.print(f"Analysis {known}", soft_wrap=True)
    out.print(f"Next: rankscope allocate {known[:12]} --method water-filling --keep 0.8 --out map.json")


def _shares(operation: Analyse, n_shards: int) -> list[AnalyseShard]:
    shares = [
        AnalyseShard.model_validate({**operation.arguments(), "shard": shard, "n_shards": n_shards})
        for shard in range(n_shards)
    ]
    shares[-1].check()
    return shares
