"""``rankscope refine``: better factors at the same ranks."""

from __future__ import annotations

from typing import Annotated

import typer

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
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope refine 3f2a map.json --train --minutes 10")(refine)


def refine(
    analysis_id: AnalysisId,
    rank_map: Annotated[str, typer.Argument(metavar="MAP", help="Rank map to refine: a file or @NAME.")],
    train: Annotated[
        bool, typer.Option("--train", help="Also train the factors to predict what the dense model predicts.")
    ] = False,
    epochs: Annotated[int, typer.Option(help="With --train: passes over the text.")] = 4,
    learning_rate: Annotated[float, typer.Option(help="With --train: relative to the entries' size.")] = 3e-4,
    minutes: Annotated[float, typer.Option(help="With --train: no step begins after these.")] = 30.0,
    damping: Annotated[float, typer.Option(help="Of the correction: ridge towards the factors as they were.")] = 1e-3,
    batch_size: Annotated[int, typer.Option(help="Sequences per pass.")] = 4,
    compute_dtype: Annotated[str, typer.Option(help="Autocast type: bfloat16, float16 or float32.")] = "bfloat16",
    seed: Annotated[int, typer.Option(help="With --train: of the order of the text.")] = 0,
    text: Text = "demo",
    text_field: TextField = "text",
    n_sequences: Annotated[int, typer.Option(help="Held-out sequences for the measurement before and after.")] = 20,
    length: Annotated[int, typer.Option(help="Tokens per held-out sequence.")] = 512,
    dtype: Annotated[str, typer.Option(help="Of the measurement: float32, bfloat16 or float16.")] = "float32",
    device: Device = "auto",
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Refine the factors of a rank map against the dense model, and measure before and after."""
    from engine.pipeline.reading.analyses import load_analysis
    from engine.rank_map.files import find_rank_map

    analysis = load_analysis(artifact_store(), analysis_id)
    chosen = find_rank_map(rank_map, analysis)
    arguments = changed(
        operations.REFINE_DEFAULTS,
        train=train,
        epochs=epochs,
        learning_rate=learning_rate,
        minutes=minutes,
        damping=damping,
        batch_size=batch_size,
        compute_dtype=compute_dtype,
        seed=seed,
        text=absolute_if_there(text),
        text_field=text_field,
        n_sequences=n_sequences,
        length=length,
        dtype=dtype,
        device=device,
    )
    operations.refinement_spec(arguments)
    title = f"Refine one {chosen.method} map of {chosen.model_name}"
    arguments |= {"analysis": analysis.id, "rank_map": chosen.to_json()}
    result = finish_job("refine", arguments, title, detach=detach, as_json=as_json)
    if result is None:
        return
    if as_json:
        print_json(result)
        return
    before, after = result["before"], result["after"]
    how = "without training" if result["training_free"] else "with training"
    out.print(
        f"Perplexity {before['perplexity']:.2f} before, {after['perplexity']:.2f} after refining {how} "
        f"({result['seconds']:.0f} s); dense {after['dense_perplexity']:.2f}"
    )
