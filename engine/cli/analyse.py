"""``rankscope analyse``: spectra, sensitivities and factors of a model."""

from __future__ import annotations

from typing import Annotated

import typer

from engine import operations
from engine.cli._console import (
    AsJson,
    Detach,
    Device,
    Text,
    TextField,
    absolute_if_there,
    changed,
    finish_job,
    out,
    print_json,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope analyse demo --n-sequences 64 --length 512")(analyse)


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
