"""``rankscope search`` and ``post-train``: find rank maps by measuring them, and train what may be trained cheaply."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from engine import operations
from engine.cli._console import (
    AnalysisId,
    AsJson,
    Detach,
    Device,
    Text,
    TextField,
    absolute_if_there,
    artifact_store,
    changed,
    finish_job,
    out,
    print_json,
    run_job,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: rankscope search 3f2a --target 0.8 --trials 50")(search)
    app.command("post-train", epilog="Example: rankscope post-train 3f2a map.json --minutes 5")(post_train)


def search(
    analysis_id: AnalysisId,
    target: Annotated[float, typer.Option(help="Kept fraction; points from 0.1 below it are tried.")] = 0.8,
    pareto: Annotated[bool, typer.Option("--pareto", help="Search all sizes from --low to --high at once.")] = False,
    low: Annotated[float, typer.Option(help="With --pareto: smallest kept fraction.")] = 0.5,
    high: Annotated[float, typer.Option(help="With --pareto: largest kept fraction.")] = 0.95,
    space: Annotated[str, typer.Option(help="5x1: a variable per kind; 5x4: per kind and quarter of depth.")] = "5x1",
    rank_step: Annotated[int, typer.Option(help="Ranks are multiples of this.")] = 8,
    tied: Annotated[str, typer.Option(help="Kinds that share one variable.")] = "q,k",
    dense: Annotated[str, typer.Option(help="Kinds that stay dense beside the tied ones.")] = "v",
    trials: Annotated[int, typer.Option(help="Measured trials in all; more than before continues.")] = 50,
    divergence_weight: Annotated[
        float, typer.Option("--lambda", help="Weight of the divergence from the dense model beside the perplexity.")
    ] = 1.0,
    text: Text = "demo",
    text_field: TextField = "text",
    n_sequences: Annotated[int, typer.Option(help="Sequences the subset is chosen from.")] = 24,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 512,
    subset: Annotated[str, typer.Option(help="sensitive, random or all of them.")] = "sensitive",
    n_subset: Annotated[int, typer.Option(help="Sequences each trial is measured on.")] = 8,
    n_allocations: Annotated[int, typer.Option(help="Random maps that show which sequences are sensitive.")] = 6,
    dtype: Annotated[str, typer.Option(help="Weights and arithmetic: float32, bfloat16 or float16.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Sequences per pass.")] = 4,
    seed: Annotated[int, typer.Option(help="Of starting points and proposals; another one for each worker.")] = 0,
    storage: Annotated[
        str | None, typer.Option(help="Database URL for workers on several machines; default: a journal file.")
    ] = None,
    device: Device = "auto",
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Search rank maps by measuring them, with Bayesian optimisation over kept fractions per kind."""
    from engine.pipeline.reading.analyses import load_analysis

    analysis = load_analysis(artifact_store(), analysis_id)
    arguments = changed(
        operations.SEARCH_DEFAULTS,
        target=target,
        pareto=pareto,
        low=low,
        high=high,
        space=space,
        rank_step=rank_step,
        tied=_names(tied),
        dense=_names(dense),
        trials=trials,
        divergence_weight=divergence_weight,
        text=absolute_if_there(text),
        text_field=text_field,
        n_sequences=n_sequences,
        length=length,
        subset=subset,
        n_subset=n_subset,
        n_allocations=n_allocations,
        dtype=dtype,
        batch_size=batch_size,
        seed=seed,
        storage=storage,
        device=device,
    )
    operations.search_specs(arguments)
    title = operations.search_title(arguments, analysis.about["model"])
    arguments |= {"analysis": analysis.id}
    result = finish_job("search", arguments, title, detach=detach, as_json=as_json)
    if result is None:
        return
    if as_json:
        print_json(result)
        return
    table = Table("trial", "kept", "perplexity on the subset", "divergence", "kept by kind")
    for found in result["pareto"] or [result["best"]]:
        point = ", ".join(f"{name} {fraction:.2f}" for name, fraction in found["point"].items())
        shown = (f"{found['kept_fraction']:.3f}", f"{found['perplexity']:.2f}", f"{found['divergence']:.3f}")
        table.add_row(str(found["trial"]), *shown, point)
    out.print(table)
    known = result["analysis"]
    if known != analysis.id:
        out.print(f"The feature metric was added; the trials belong to the analysis {known}", soft_wrap=True)
    out.print(
        f"Next: rankscope allocate {known[:12]} --method bolaco --keep {high if pareto else target:g} --out map.json"
    )


def post_train(
    analysis_id: AnalysisId,
    rank_map: Annotated[str, typer.Argument(metavar="MAP", help="The map to compress with: a file or @NAME.")],
    minutes: Annotated[float, typer.Option(help="No step begins after this long.")] = 5.0,
    max_steps: Annotated[int, typer.Option(help="Steps at most.")] = 1000,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    train_batch_size: Annotated[int, typer.Option(help="Calibration sequences per step.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the order of the sequences.")] = 0,
    text: Text = "demo",
    text_field: TextField = "text",
    n_sequences: Annotated[int, typer.Option(help="Held-out sequences.")] = 20,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 512,
    batch_size: Annotated[int, typer.Option(help="Held-out sequences per pass.")] = 4,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Train two vectors per projection on the calibration text; the map keeps its ranks and its size."""
    from engine.pipeline.reading.analyses import load_analysis
    from engine.rank_map.files import find_rank_map

    analysis = load_analysis(artifact_store(), analysis_id)
    chosen = find_rank_map(rank_map, analysis)
    arguments = changed(
        operations.POST_TRAIN_DEFAULTS,
        minutes=minutes,
        max_steps=max_steps,
        learning_rate=learning_rate,
        train_batch_size=train_batch_size,
        seed=seed,
        text=absolute_if_there(text),
        text_field=text_field,
        n_sequences=n_sequences,
        length=length,
        batch_size=batch_size,
        device=device,
    )
    title = f"Post-train a {chosen.method} map of {analysis.about['model']}"
    found = run_job("post-train", {"analysis": analysis.id, "rank_map": chosen.to_json(), **arguments}, title)
    if as_json:
        print_json(found)
        return
    out.print(
        f"Perplexity on {found['corpus']}: {found['perplexity_before']:.2f} before, {found['perplexity']:.2f} after "
        f"{found['steps']} steps on {found['trained_on']}; dense {found['dense_perplexity']:.2f}",
        markup=False,
        soft_wrap=True,
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
