"""The command that lets the dense, a compressed or a progressive model write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli._console import AnalysisId, AsJson, Device, artifact_store, err, print_json
from engine.decoding.schedules import RankSchedule, ScheduleKind
from engine.errors import InvalidSpecError
from engine.paths import read_small_file
from engine.specs import AUTO_DTYPES
from engine.types import Format

if TYPE_CHECKING:
    from engine.pipeline.generate import Completion, GenerationSession, Variant
    from engine.specs import GenerationSpec

MAX_PROMPT_BYTES = 5_000_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    example = 'rankscope generate 3f2a --prompt "Why is the sky blue?" --progressive --start 0.9 --end 0.6'
    app.command(epilog=f"Example: {example}")(generate)


def generate(
    analysis_id: AnalysisId,
    rank_map: Annotated[
        str | None, typer.Argument(metavar="[MAP]", help="Rank map, a file or @NAME; none: dense.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text to continue, or a question to a chat model.")] = None,
    prompt_file: Annotated[Path | None, typer.Option(help="UTF-8 file with the prompt.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens to generate.")] = 100,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest token; above: draw tokens.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the drawn tokens.")] = 0,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Use the model's chat template; default: if it has one.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Weights and arithmetic: auto, float32, bfloat16 or float16.")] = "auto",
    progressive: Annotated[
        bool, typer.Option("--progressive", help="Lower the ranks while tokens are generated (FLRC).")
    ] = False,
    start: Annotated[
        float | None, typer.Option(help="Kept fraction of the prompt and the first tokens; default 0.9.")
    ] = None,
    end: Annotated[float | None, typer.Option(help="Kept fraction of the last tokens; default 0.6.")] = None,
    schedule: Annotated[str, typer.Option(help="staged, or linear over --max-new-tokens.")] = "staged",
    stages: Annotated[int | None, typer.Option(help="Budgets of a staged schedule; default 4.")] = None,
    step: Annotated[
        int | None, typer.Option(help="Tokens per stage; default: all stages fit --max-new-tokens.")
    ] = None,
    method: Annotated[str, typer.Option(help="What allocates each budget: flrc, svd-llm or water-filling.")] = "flrc",
    storage: Annotated[
        str, typer.Option("--format", help="How progressive factors are stored: low-rank or cat.")
    ] = "low-rank",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Generate text, with a rank map or progressively lower ranks if asked."""
    text = _prompt(prompt, prompt_file)
    if dtype not in AUTO_DTYPES:
        raise InvalidSpecError(f"The dtype {dtype!r} was given; expected one of {', '.join(AUTO_DTYPES)}.")
    chosen = None
    if progressive:
        if rank_map is not None:
            raise InvalidSpecError(
                f"Progressive decoding makes its own rank maps, but {rank_map} was given too; leave out the map or "
                "--progressive."
            )
        chosen = _schedule(
            schedule, 0.9 if start is None else start, 0.6 if end is None else end, stages, step, max_new_tokens
        )
    elif (start, end, stages, step) != (None,) * 4:
        raise InvalidSpecError("--start, --end, --stages and --step belong to --progressive; add it or leave them out.")
    storage_format = _storage(storage)

    from engine.pipeline.generate import GenerationSession
    from engine.pipeline.reading.analyses import load_analysis
    from engine.progress import ignore_progress
    from engine.rank_map.files import find_rank_map
    from engine.settings import home
    from engine.specs import GenerationSpec

    spec = GenerationSpec(max_new_tokens, temperature, seed)
    decided = None if rank_map is None else find_rank_map(rank_map, load_analysis(artifact_store(), analysis_id))
    with err.status("Opening the model"):
        session = GenerationSession(home(), analysis_id, ignore_progress, dtype=dtype, device=device)
        tokens = session.encode(text, spec, chat=chat)
        if chosen is not None:
            variant = session.progressive(chosen, method, storage_format)
        else:
            variant = session.dense() if decided is None else session.compressed(decided)
    _write(session, variant, tokens, spec, as_json)


def _write(
    session: GenerationSession, variant: Variant, tokens: list[int], spec: GenerationSpec, as_json: bool
) -> None:
    """Generate and print: one JSON value, or the text as it comes and a line about it."""
    if as_json:
        print_json(_document(session, variant, session.complete(variant, tokens, spec), spec))
        return
    # Text of a model must not reach the terminal's markup, and a pipe gets the same text as a person.
    found = session.complete(variant, tokens, spec, _print_now)
    sys.stdout.write("\n")
    sys.stdout.flush()
    speed = "" if found.tokens_per_s is None else f" at {found.tokens_per_s:.1f} tokens/s"
    err.print(
        f"{variant.name}: {len(found.tokens)} tokens{speed}, the first after {found.prefill_s:.2f} s; mean active "
        f"parameters {found.mean_active_params:,.0f} of {found.compressible_params:,} "
        f"({found.mean_kept_fraction:.1%} kept)",
        highlight=False,
        soft_wrap=True,
    )


def _print_now(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _document(
    session: GenerationSession, variant: Variant, found: Completion, spec: GenerationSpec
) -> dict[str, object]:
    """Return the documented JSON."""
    from engine.model.module import device_of, dtype_of

    schedule = variant.schedule
    module = session.model.module
    return {
        "analysis": session.analysis.id,
        "model": session.analysis.about["model"],
        "variant": variant.name,
        "text": found.text,
        "prompt_tokens": found.n_prompt_tokens,
        "new_tokens": len(found.tokens),
        "prefill_s": found.prefill_s,
        "decode_s": found.decode_s,
        "tokens_per_s": found.tokens_per_s,
        "compressible_params": found.compressible_params,
        "prefill_params": variant.params,
        "resident_params": variant.resident_params,
        "active_params": list(found.active_params),
        "mean_active_params": found.mean_active_params,
        "mean_kept_fraction": found.mean_kept_fraction,
        "schedule": None
        if schedule is None
        else {
            "kind": schedule.kind,
            "kept_fractions": list(schedule.kept_fractions),
            "length": schedule.length,
        },
        "temperature": spec.temperature,
        "seed": spec.seed,
        "dtype": str(dtype_of(module)).removeprefix("torch."),
        "device": str(device_of(module)),
    }


def _prompt(text: str | None, path: Path | None) -> str:
    """Return the prompt from the one place it was given in."""
    if (text is None) == (path is None):
        given = "none" if text is None else "both"
        raise InvalidSpecError(f"Of --prompt and --prompt-file {given} was given; give exactly one of them.")
    if path is None:
        return text or ""
    data = read_small_file(path, "prompt file", MAX_PROMPT_BYTES, "give a shorter prompt in a UTF-8 text file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSpecError(
            f"The prompt file {path} is not UTF-8 at byte {error.start}; save it as UTF-8."
        ) from error


def _schedule(
    kind: str, start: float, end: float, stages: int | None, step: int | None, max_new_tokens: int
) -> RankSchedule:
    """Return the schedule the options describe."""
    if start <= end:
        raise InvalidSpecError(
            f"Progressive decoding from {start:g} to {end:g} was asked for; expected --start above --end, for example "
            "--start 0.9 --end 0.6."
        )
    if kind not in list(ScheduleKind):
        raise InvalidSpecError(f"The schedule {kind!r} does not exist; expected one of {', '.join(ScheduleKind)}.")
    if kind == ScheduleKind.LINEAR:
        if stages is not None or step is not None:
            raise InvalidSpecError(
                "A linear schedule lowers the ranks at every token and has no --stages or --step; leave them out or "
                "use --schedule staged."
            )
        return RankSchedule.linear(start, end, max_new_tokens)
    n_stages = min(4, max(max_new_tokens, 2)) if stages is None else stages
    if n_stages < 2 or (step is not None and step < 1):
        raise InvalidSpecError(
            f"A staged schedule of {n_stages} stages of {step} tokens was asked for; expected --stages of at least 2 "
            "and --step of at least 1."
        )
    return RankSchedule.staged(start, end, n_stages, step or max(1, -(-max_new_tokens // n_stages)))


def _storage(name: str) -> Format:
    if name not in {Format.LOW_RANK, Format.CAT, Format.SKIP, Format.SKIP_CAT}:
        raise InvalidSpecError(f"The format {name!r} was given; progressive decoding uses low-rank or cat.")
    return Format(name)
