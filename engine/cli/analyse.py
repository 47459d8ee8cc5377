"""``rankscope analyse``: spectra, sensitivities and factors of a model."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.cli._console import AsJson, Detach, finish_job, out, print_json
from engine.cli._settings import Settings, with_settings
from engine.jobs import JobQueue
from engine.operations import Analyse
from engine.settings import home


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope analyse demo --n-sequences 64 --length 512")(analyse)


@with_settings(Analyse)
def analyse(
    model: Annotated[str, typer.Argument(help=Analyse.settings()["model"].help)],
    settings: Settings,
    queue: JobQueue,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Analyse a model: spectra, sensitivities and factors of every projection."""
    operation = Analyse(model=model, **settings)
    known = operation.stored(home())
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
