"""``rankscope demo``: the whole way from a model to a folder and a report, without a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from cache import Key
from engine.cli._console import AsJson, artifact_store, out, print_json, run_job
from engine.cli._files import write_file
from engine.cli._settings import Settings, listed, with_settings
from engine.cli.compare import print_comparison
from engine.cli.evaluate import print_rows
from engine.cli.export import print_export
from engine.cli.report import write_report
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.export.new_folder import require_new
from engine.export.outcome import ExportedModel
from engine.jobs import JobQueue
from engine.methods.presets import PRESETS, get_preset
from engine.operations import Analyse, Compare, Evaluate, Export
from engine.paths import given_path
from engine.rank_map.document import parse_rank_map
from engine.results.comparison import Comparison
from engine.results.outcomes import Evaluation
from engine.settings import home

_METHODS = ",".join(name for name, preset in PRESETS.items() if not preset.needs_search)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope demo ./demo --keep 0.8")(demo)


@with_settings(Analyse)
def demo(
    settings: Settings,
    queue: JobQueue,
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the results go; new or empty.")] = Path(
        "rankscope-demo"
    ),
    keep: Annotated[float, typer.Option(help="Kept fraction of the compressible parameters.")] = 0.8,
    methods: Annotated[str, typer.Option(help="Methods compared, comma-separated.")] = _METHODS,
    held_out: Annotated[int | None, typer.Option(help="Held-out sequences; default: each step's own.")] = None,
    level: Annotated[str, typer.Option(help="Of the evaluation: quick or full.")] = "quick",
    tasks: Annotated[str | None, typer.Option(help="Zero-shot tasks, comma-separated; default: the level's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Analyse a model, compare methods, then evaluate, export and report the best one.

    Stored results are reused; an interrupted run can be resumed.
    """
    if level == "perplexity":
        raise InvalidSpecError(
            "The level 'perplexity' was given, which the comparison measures already; use quick or full."
        )
    analyse = Analyse(**settings)
    measured_on: dict[str, Any] = analyse.model_dump(include={"text", "text_field", "length", "device"})
    if held_out is not None:
        measured_on["n_sequences"] = held_out
    compare = Compare(analysis="", **measured_on).changed(kept_fractions=[keep], methods=listed(methods))
    if analyse.text != "demo":
        compare = compare.changed(other_text="")
    compare.check()
    measured_on |= {"level": level, **({} if tasks is None else {"tasks": listed(tasks)})}
    Evaluate(analysis="", rank_maps=("",), **measured_on)
    target = given_path(str(folder)).absolute()
    require_new(target)

    _say(1, f"Analysing {analyse.model}", as_json=as_json)
    analysis_id = analyse.stored(home()) or run_job(analyse, dict[str, str], queue)["analysis"]

    _say(2, f"Comparing {len(compare.methods)} methods at {keep:.0%} kept", as_json=as_json)
    comparison = run_job(compare.changed(analysis=analysis_id), Comparison, queue)
    if not as_json:
        print_comparison(comparison)
    if not comparison.rows:
        raise InfeasibleBudgetError(comparison.impossible[0].reason)
    best = min(comparison.rows, key=lambda row: row.perplexity)
    method = best.method
    # A searching method's maps belong to an analysis with the metric it needs.
    analysis_id = comparison.analysis
    measured = artifact_store().read(Key("evaluation", best.evaluation))
    # Equal maps of two methods are one measurement, named after the first.
    rank_map = replace(parse_rank_map(measured.path("rank-map.json").read_bytes()), method=method)

    _say(3, f"Evaluating {get_preset(method).title}, the best of them ({level})", as_json=as_json)
    evaluation = run_job(
        Evaluate(analysis=analysis_id, rank_maps=(rank_map.to_json(),), **measured_on), Evaluation, queue
    )
    if not as_json:
        print_rows([evaluation.dense, *evaluation.maps])

    _say(4, "Exporting it", as_json=as_json)
    target.mkdir(parents=True, exist_ok=True)
    export = Export(analysis=analysis_id, rank_map=rank_map.to_json(), folder=str(target / "model"))
    exported = run_job(export, ExportedModel, queue)
    write_file(target / "rank-map.json", rank_map.to_json())
    if not as_json:
        print_export(exported)

    _say(5, "Writing the report", as_json=as_json)
    report = write_report(analysis_id, rank_map, target / "report.html")
    result = {
        "analysis": analysis_id,
        "method": method,
        "rank_map": str(target / "rank-map.json"),
        "comparison": comparison,
        "evaluation": evaluation,
        "export": exported,
        "report": report,
    }
    if as_json:
        print_json(result)
    else:
        out.print(f"Everything is in {target}; open report.html first.", soft_wrap=True)


def _say(step: int, what: str, *, as_json: bool) -> None:
    if not as_json:
        out.print(Text(f"{step} of 5", "bold"), what)
