"""``rankscope allocate``: a rank map for a target."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli._console import (
    AnalysisId,
    AsJson,
    artifact_store,
    err,
    out,
    print_json,
    print_values,
    warn_of_unreadable,
)
from engine.cli._files import write_file
from engine.devices.known import THIS_MACHINE, get_device
from engine.errors import InvalidSpecError
from engine.methods.locks import parse_formats, read_locks
from engine.methods.presets import AllocationSettings, get_preset
from engine.precision import SIZE_TYPES, bits_of
from engine.progress import ignore_progress
from engine.settings import home
from engine.types import Importance, Metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.analysis.value import Analysis
    from engine.methods.allocate import Request, Target
    from engine.methods.time_budget import Situation
    from engine.rank_map.document import RankMap


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
    tokens_per_second: Annotated[
        float | None, typer.Option(help="Target: tokens per second on --device, of all sequences together, predicted.")
    ] = None,
    ms_per_token: Annotated[
        float | None, typer.Option(help="Target: milliseconds in which every sequence gets a token there, predicted.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="Of a target in time: a name that rankscope devices lists.")
    ] = THIS_MACHINE,
    batch: Annotated[int, typer.Option(help="Of a target in time: sequences at once.", min=1)] = 1,
    context: Annotated[int, typer.Option(help="Of a target in time: tokens of each in the cache.", min=0)] = 1024,
    dtype: Annotated[
        str, typer.Option(help=f"Type that --mb counts and a device reads: {', '.join(SIZE_TYPES)}.")
    ] = "float16",
    bits: Annotated[
        str,
        typer.Option(
            help="With --mb: choose (bits per block beside rank and width), or 16, 8 or 4 for every projection; "
            "water-filling only."
        ),
    ] = "",
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
    rank_step: Annotated[
        int, typer.Option(help="Ranks are multiples of this; those of water-filling in large matrices also of 2 to 32.")
    ] = 1,
    to: Annotated[Path | None, typer.Option("--out", help="Where the rank map is written.")] = None,
    as_json: AsJson = False,
) -> None:
    """Decide the rank of every projection under a budget and write a rank map."""
    from engine.methods.allocate import Request, Target, allocate_to_target, rule_of
    from engine.methods.byte_budget import blocks_at_bits
    from engine.methods.cost import cost_of
    from engine.methods.time_budget import Situation, time_rule
    from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
    from engine.pipeline.reading.results import results, row_of
    from engine.pipeline.reading.trials import with_searched_maps
    from engine.prediction.cutting import cut_weight_of
    from engine.prediction.instead import instead_of
    from engine.prediction.runs import predictor_on, reference_text

    target = Target(keep, mb, perplexity_ratio, dtype, tokens_per_second, ms_per_token)
    analysis = load_analysis(artifact_store(), analysis_id)
    chosen = parse_formats(formats) if formats else None
    locks = read_locks(lock, analysis.inventory, method, chosen) if lock else ()
    curves = curves_by_metric(analysis, _importance(importance, method))
    rows = results(artifact_store(), analysis.id)
    text = reference_text(rows)
    predictor = predictor_on(text)
    settings = AllocationSettings(gamma, min_rank, rank_step)
    request = Request(locks, chosen, settings)
    if get_preset(method).needs_search:
        request = with_searched_maps(request, artifact_store(), analysis)
    step_s, situation = target.step_s(batch), None
    if bits:
        analysis, rank_map = _with_bits(
            analysis, request, bits, target, method, partial(cut_weight_of, predictor, rows=rows)
        )
    elif step_s is not None:
        situation = Situation(device, get_device(home(), device, dtype), dtype, batch, context)
        rank_map = time_rule(analysis, method, curves, request, situation).allocate(step_s)
    else:
        rank_map = allocate_to_target(analysis, method, rule_of(method, curves, request), target, predictor)
    cost = cost_of(analysis, rank_map)
    prediction = predictor.predict(cost.nats, rank_map.metric)
    predicted, low, high = prediction.perplexities()
    kept = None if rank_map.budget_params is None else rank_map.budget_params / analysis.inventory.compressible_params
    instead = instead_of(rows, row_of(analysis, rows, rank_map, bits_of(dtype)), text)
    time = None if situation is None else _time(situation, analysis, rank_map)
    if to is not None:
        write_file(to, rank_map.to_json())
    result: dict[str, object] = {
        "analysis": analysis.id,
        "method": method,
        "search": request.search_behind(rank_map),
        "metric": rank_map.metric,
        "target_kept_fraction": keep or kept,
        "kept_fraction": cost.kept_fraction,
        "params": cost.params,
        "model_params": cost.model_params,
        "model_mb_float16": cost.bytes_at("float16") / 1e6,
        f"model_mb_{dtype}": cost.bytes_at(dtype) / 1e6,
        "blocks_at_bits": blocks_at_bits(rank_map) if bits else None,
        "time": time,
        "predicted_nats": cost.nats,
        "predicted_nll_increase": prediction.nll_increase,
        "predicted_perplexity_ratio": predicted,
        "predicted_perplexity_ratio_low": low,
        "predicted_perplexity_ratio_high": high,
        "prediction_calibrated_on": predictor.n_runs,
        "prediction_text": None if text is None else text.name,
        "instead": None if instead is None else instead.words,
        "out": None if to is None else str(to),
    }
    warn_of_unreadable()
    if as_json:
        print_json(result)
        return
    shown = {name: value for name, value in result.items() if name not in {"time", "instead"}}
    print_values(shown | (time or {}))
    if instead is not None:
        out.print(instead.words, highlight=False, markup=False)
    if to is not None:
        out.print(f"Next: rankscope evaluate {analysis.id[:12]} {to}")


def _with_bits(
    analysis: Analysis,
    request: Request,
    bits: str,
    target: Target,
    method: str,
    weight_of: Callable[..., float],
) -> tuple[Analysis, RankMap]:
    """Return a rank map with bits for a target in bytes, and the analysis, which then knows what rounding adds."""
    from engine.methods.byte_budget import METHOD, allocate_bytes
    from engine.pipeline.reading.analyses import curves_by_metric, load_analysis

    if target.mb is None or method != METHOD or target.dtype != "float16":
        raise InvalidSpecError(
            f"Bits were asked for, which {METHOD} chooses for a budget in bytes; give --mb and neither another method "
            "nor --dtype (for widths alone: --format width), or leave --bits out."
        )
    if bits != "16" and analysis.rounding is None:
        from engine.pipeline.reading.rounding import is_outdated
        from engine.pipeline.rounding import predict_rounding

        if is_outdated(artifact_store(), analysis.id):
            err.print("What an earlier version predicted of rounding is not used any more; it is predicted again.")
        err.print("Predicting what rounding does, once for this analysis …")
        predict_rounding(home(), analysis.id, ignore_progress)
        analysis = load_analysis(artifact_store(), analysis.id)
    groups = curves_by_metric(analysis)[Metric.LOSS]
    rank_map = allocate_bytes(analysis, groups, request, bits, target.mb * 1e6, weight_of(analysis=analysis))
    return analysis, rank_map


def _time(situation: Situation, analysis: Analysis, rank_map: RankMap) -> dict[str, object]:
    """Return what is predicted of a map on a device, beside the dense model."""
    from engine.devices.roofline import answer

    dense, compressed = (situation.forecast(blocks, analysis.inventory) for blocks in ((), rank_map.blocks))
    return {
        "device": situation.name,
        "batch": situation.batch,
        "context": situation.context,
        "predicted_ms_per_token": 1e3 * compressed.step_s,
        "predicted_tokens_per_second": situation.batch / compressed.step_s,
        "predicted_time_ratio": compressed.step_s / dense.step_s,
        "answer": answer(dense, compressed, situation.device),
    }


def _importance(name: str | None, method: str) -> Importance:
    if name is None:
        return Importance.TAYLOR2
    if not get_preset(method).uses_importances:
        raise InvalidSpecError(f"The method {method} has no setting importance; leave it out, or use the method flrc.")
    if name not in list(Importance):
        raise InvalidSpecError(f"The importance {name!r} does not exist; expected one of {', '.join(Importance)}.")
    return Importance(name)
