"""``rankscope compare``: every method at every budget, measured on the same texts."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from engine import operations
from engine.cli._console import (
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
from engine.errors import InvalidSpecError
from engine.methods.presets import PRESETS, get_preset


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope compare --keep 0.9,0.8,0.7,0.6,0.5")(compare)


def compare(
    analysis_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ANALYSIS]",
            help="Id of an analysis; default: the newest of a dense model, or a new one of the demo.",
        ),
    ] = None,
    keep: Annotated[str, typer.Option(help="Kept fractions, comma-separated.")] = "0.9,0.8,0.7,0.6,0.5",
    methods: Annotated[str, typer.Option(help="Methods, comma-separated.")] = ",".join(PRESETS),
    text: Text = "demo",
    text_field: TextField = "text",
    n_sequences: Annotated[int, typer.Option(help="Held-out sequences.")] = 20,
    other_text: Annotated[
        str, typer.Option(help="A text of another domain, or an empty string for none.")
    ] = "demo:news",
    other_n_sequences: Annotated[int, typer.Option(help="Sequences of the other text.")] = 10,
    length: Annotated[int, typer.Option(help="Tokens per sequence.")] = 512,
    dtype: Annotated[str, typer.Option(help="Weights and arithmetic: float32, bfloat16 or float16.")] = "float32",
    batch_size: Annotated[int, typer.Option(help="Sequences per pass.")] = 4,
    search_trials: Annotated[int, typer.Option(help="Maps that Bolaco measures before it answers.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    device: Device = "auto",
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Measure every method at every budget, in and out of domain, and keep the table."""
    from engine.pipeline.reading.analyses import analysis_headings, load_analysis

    chosen = [name.strip() for name in methods.split(",") if name.strip()]
    for name in chosen:
        get_preset(name)
    if analysis_id is None:
        plain = [h for h in analysis_headings(artifact_store()) if h.about["spec"].get("around_kept_fraction") is None]
        analysis_id = plain[0].id if plain else run_job("analyse", {}, operations.analysis_title({}))["analysis"]
    analysis = load_analysis(artifact_store(), analysis_id)
    arguments = changed(
        operations.COMPARE_DEFAULTS,
        kept_fractions=_fractions(keep),
        methods=chosen,
        text=absolute_if_there(text),
        text_field=text_field,
        n_sequences=n_sequences,
        other_text=absolute_if_there(other_text),
        other_n_sequences=other_n_sequences,
        length=length,
        dtype=dtype,
        batch_size=batch_size,
        search_trials=search_trials,
        seed=seed,
        device=device,
    )
    title = f"Compare methods on {analysis.about['model']}"
    arguments |= {"analysis": analysis.id}
    result = finish_job("compare", arguments, title, detach=detach, as_json=as_json)
    if result is not None:
        print_json(result) if as_json else print_comparison(result)


def _fractions(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InvalidSpecError(
            f"The kept fractions {text!r} were given; expected numbers separated by commas, such as 0.8,0.6."
        ) from None


def print_comparison(result: dict[str, Any]) -> None:
    """Print a comparison as a table."""
    table = Table("kept", "method", "MB (float16)", "perplexity", "predicted", "other text", "agreement", "search")
    for row in result["rows"]:
        low, high = row["predicted_perplexity_low"], row["predicted_perplexity_high"]
        other = row.get("other_perplexity")
        table.add_row(
            f"{row['kept_fraction']:.3f}",
            row["method"],
            f"{row['model_mb_float16']:.1f}",
            f"{row['perplexity']:.2f} ({row['perplexity'] / row['dense_perplexity']:.2f} ×)",
            f"{row['predicted_perplexity']:.2f} ({low:.2f} to {high:.2f})",
            "" if other is None else f"{other:.2f} ({other / row['other_dense_perplexity']:.2f} ×)",
            f"{row['agreement']:.1%}",
            f"{row['search_s']:.3g} s",
        )
    out.print(table)
    for missing in result["impossible"]:
        out.print(f"{missing['method']} at {missing['target_kept_fraction']:g}: {missing['reason']}", markup=False)
    error = result["prediction_median_relative_error"]
    if error is not None:
        out.print(f"Median relative error of the predicted increase of the loss, leave-one-out: {error:.1%}")
