"""``rankscope demo``: the whole way from a model to a folder and a report, without a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cache import Key
from engine import operations
from engine.cli._console import (
    AsJson,
    Text,
    TextField,
    absolute_if_there,
    artifact_store,
    changed,
    out,
    print_json,
    run_job,
)
from engine.cli.compare import print_comparison
from engine.cli.evaluate import print_rows
from engine.cli.export import print_export
from engine.cli.report import write_report
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.export.new_folder import require_new
from engine.methods.presets import PRESETS, get_preset
from engine.rank_map.document import parse_rank_map

if TYPE_CHECKING:
    from engine.rank_map.document import RankMap

_METHODS = ",".join(name for name, preset in PRESETS.items() if not preset.needs_search)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope demo ./demo --keep 0.8")(demo)


def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the results go; new or empty.")] = Path(
        "rankscope-demo"
    ),
    model: Annotated[str, typer.Option(help="demo, a folder, a .gguf file, or a hub id.")] = "demo",
    keep: Annotated[float, typer.Option(help="Kept fraction of the compressible parameters.")] = 0.8,
    methods: Annotated[str, typer.Option(help="Methods compared, comma-separated.")] = _METHODS,
    text: Text = "demo",
    text_field: TextField = "text",
    n_sequences: Annotated[int, typer.Option(help="Calibration sequences.")] = 64,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 512,
    held_out: Annotated[int | None, typer.Option(help="Held-out sequences; default: each step's own.")] = None,
    level: Annotated[str, typer.Option(help="Of the evaluation: quick or full.")] = "quick",
    tasks: Annotated[str | None, typer.Option(help="Zero-shot tasks, comma-separated; default: the level's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Analyse a model, compare methods, then evaluate, export and report the best one.

    What was computed before is not computed again; an interrupted run goes on.
    """
    from engine.levels import level_settings
    from engine.pipeline.reading.analyses import load_analysis

    chosen = [name.strip() for name in methods.split(",") if name.strip()]
    for name in chosen:
        get_preset(name)
    settings = level_settings(level)
    if level == "perplexity":
        raise InvalidSpecError(
            "The level 'perplexity' was given, which the comparison measures already; use quick or full."
        )
    target = folder.expanduser().absolute()
    require_new(target)
    corpus = {"text": absolute_if_there(text), "text_field": text_field, "length": length}
    measured_on = corpus if held_out is None else {**corpus, "n_sequences": held_out}

    _say(1, f"Analysing {model}", as_json=as_json)
    what = changed(operations.ANALYSE_DEFAULTS, model=absolute_if_there(model), n_sequences=n_sequences, **corpus)
    analysis_id = (
        operations.known_analysis(what) or run_job("analyse", what, operations.analysis_title(what))["analysis"]
    )
    analysis = load_analysis(artifact_store(), analysis_id)

    _say(2, f"Comparing {len(chosen)} methods at {keep:.0%} kept", as_json=as_json)
    other_text = operations.COMPARE_DEFAULTS["other_text"] if text == "demo" else ""
    what = changed(
        operations.COMPARE_DEFAULTS, kept_fractions=[keep], methods=chosen, other_text=other_text, **measured_on
    )
    comparison = _run("compare", what, analysis_id, f"Compare methods on {analysis.about['model']}")
    if not as_json:
        print_comparison(comparison)
    if not comparison["rows"]:
        raise InfeasibleBudgetError(comparison["impossible"][0]["reason"])
    best = min(comparison["rows"], key=lambda row: row["perplexity"])
    method = best["method"]
    # A searching method's maps belong to an analysis with the metric it needs.
    analysis_id = comparison["analysis"]
    measured = artifact_store().read(Key("evaluation", best["evaluation"]))
    # Equal maps of two methods are one measurement, named after the first.
    rank_map = replace(parse_rank_map(measured.path("rank-map.json").read_bytes()), method=method)

    _say(3, f"Evaluating {get_preset(method).title}, the best of them ({level})", as_json=as_json)
    what = changed(settings, **measured_on)
    if tasks is not None:
        what["tasks"] = [name.strip() for name in tasks.split(",") if name.strip()]
    what |= {"rank_maps": [rank_map.to_json()], "level": level}
    evaluation = _run("evaluate", what, analysis_id, operations.evaluation_title(what))
    if not as_json:
        print_rows([evaluation["dense"], *evaluation["maps"]])

    _say(4, "Exporting it", as_json=as_json)
    exported = _export(rank_map, analysis_id, target / "model")
    (target / "rank-map.json").write_text(rank_map.to_json(), encoding="utf-8")
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
        out.print(f"Everything is in {target}; open report.html first.", markup=False, soft_wrap=True)


def _run(operation: str, arguments: dict[str, Any], analysis_id: str, title: str) -> dict[str, Any]:
    result: dict[str, Any] = run_job(operation, arguments | {"analysis": analysis_id}, title)
    return result


def _export(rank_map: RankMap, analysis_id: str, folder: Path) -> dict[str, Any]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    what = {"rank_map": rank_map.to_json(), "folder": str(folder)}
    return _run("export", what, analysis_id, f"Export one {rank_map.method} map of {rank_map.model_name}")


def _say(step: int, what: str, *, as_json: bool) -> None:
    if not as_json:
        out.print(f"[bold]{step} of 5[/bold] {what}")
