"""``rankscope allocate``: a rank map for a target."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.cli._console import (
    AnalysisId,
    AsJson,
    artifact_store,
    out,
    print_json,
    print_values,
    warn_of_unreadable,
)
from engine.cli._files import write_file
from engine.errors import InvalidSpecError
from engine.methods.locks import parse_formats, read_locks
from engine.methods.presets import AllocationSettings, get_preset
from engine.quantization.precision import SIZE_TYPES
from engine.types import Importance


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope allocate 3f2a --method water-filling --keep 0.8 --out map.json")(allocate)


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
    dtype: Annotated[str, typer.Option(help=f"Type that --mb counts: {', '.join(SIZE_TYPES)}.")] = "float16",
    method: Annotated[str, typer.Option(help="svd-llm, flrc, bolaco, skipcat or water-filling.")] = "water-filling",
    formats: Annotated[
        str,
        typer.Option("--format", help="Formats allowed instead of the method's: low-rank, cat, skip, skip+cat, width."),
    ] = "",
    lock: Annotated[Path | None, typer.Option(help='JSON file of held ranks: {projection: rank or "dense"}.')] = None,
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
    from engine.methods.allocate import Request, Target, allocate_to_target, rule_of
    from engine.methods.cost import cost_of
    from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
    from engine.pipeline.reading.results import results
    from engine.pipeline.reading.trials import with_searched_maps
    from engine.prediction.runs import predictor_on, reference_text

    target = Target(keep, mb, perplexity_ratio, dtype)
    analysis = load_analysis(artifact_store(), analysis_id)
    chosen = parse_formats(formats) if formats else None
    locks = read_locks(lock, analysis.inventory, method, chosen) if lock else ()
    curves = curves_by_metric(analysis, _importance(importance, method))
    text = reference_text(results(artifact_store(), analysis.id))
    predictor = predictor_on(text)
    settings = AllocationSettings(gamma, min_rank, rank_step)
    request = Request(locks, chosen, settings)
    if get_preset(method).needs_search:
        request = with_searched_maps(request, artifact_store(), analysis)
    rank_map = allocate_to_target(analysis, method, rule_of(method, curves, request), target, predictor)
    cost = cost_of(analysis, rank_map)
    prediction = predictor.predict(cost.nats, rank_map.metric)
    predicted, low, high = prediction.perplexities()
    budget_params = rank_map.budget_params or 0
    if to is not None:
        write_file(to, rank_map.to_json())
    result = {
        "analysis": analysis.id,
        "method": method,
        "search": request.search_behind(rank_map),
        "metric": rank_map.metric,
        "target_kept_fraction": keep or budget_params / analysis.inventory.compressible_params,
        "kept_fraction": cost.kept_fraction,
        "params": cost.params,
        "model_params": cost.model_params,
        "model_mb_float16": cost.bytes_at("float16") / 1e6,
        f"model_mb_{dtype}": cost.bytes_at(dtype) / 1e6,
        "predicted_nats": cost.nats,
        "predicted_nll_increase": prediction.nll_increase,
        "predicted_perplexity_ratio": predicted,
        "predicted_perplexity_ratio_low": low,
        "predicted_perplexity_ratio_high": high,
        "prediction_calibrated_on": predictor.n_runs,
        "prediction_text": None if text is None else text.name,
        "out": None if to is None else str(to),
    }
    warn_of_unreadable()
    if as_json:
        print_json(result)
        return
    print_values(result)
    if to is not None:
        out.print(f"Next: rankscope evaluate {analysis.id[:12]} {to}")


def _importance(name: str | None, method: str) -> Importance:
    if name is None:
        return Importance.TAYLOR2
    if not get_preset(method).uses_importances:
        raise InvalidSpecError(f"The method {method} has no setting importance; leave it out, or use the method flrc.")
    if name not in list(Importance):
        raise InvalidSpecError(f"The importance {name!r} does not exist; expected one of {', '.join(Importance)}.")
    return Importance(name)
