"""Memory and time of statistics taken layer by layer, on a made-up LLaMA of random weights.

Run: python -m tests.benchmarks.size [--layers 32] [--width 4096] [--sequences 4] ...
Each figure comes from a process of its own. "Bare" is one layer after the other read, run forward and backward with
gradients of its weights, and the head, on the same tokens in the same type: what no pass can do without. "Once more
forward" and "moments" are what statistics taken layer by layer need beside that: the states that layers begin with, and
the upper halves of sums of outer products in float32. Seconds, and ratios of them, are of the clock and of the
processor, which other programs change less.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig

from engine.calibration.boundaries import Boundaries
from engine.calibration.outer import add_outer
from engine.calibration.passes import gradients_at_head, layer_bytes
from engine.calibration.sides import keeps_input_moment
from engine.calibration.streamed import StreamedPass
from engine.model.module import decoder_layers, embedding_rows
from engine.model.opening import OpenModel, open_model
from engine.model.stepping import LayerSteps
from engine.specs import CalibrationSpec
from tests.conftest import train_toy_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SPEC = CalibrationSpec(compute_dtype="bfloat16")


def llama_config(given: argparse.Namespace, n_layers: int) -> LlamaConfig:
    """Return the shapes that were asked for."""
    return LlamaConfig(
        hidden_size=given.width,
        intermediate_size=given.inner,
        num_hidden_layers=n_layers,
        num_attention_heads=given.heads,
        num_key_value_heads=given.kv_heads,
        vocab_size=given.vocabulary,
        max_position_embeddings=4096,
        dtype=torch.bfloat16,
    )


def add_shapes(parser: argparse.ArgumentParser, **changes: int) -> None:
    """Add the options of a model's shapes and of the text, and of the folder that both lie in; 7B shapes by default."""
    for name, default in {
        "layers": 32, "width": 4096, "inner": 11008, "heads": 32, "kv-heads": 32, "vocabulary": 32000,
        "sequences": 4, "length": 512,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=changes.get(name, default))
    parser.add_argument("--folder", type=Path, help="where the model is written; default: a temporary folder")


def write_llama(folder: Path, config: LlamaConfig) -> None:
    """Write random weights in bfloat16, a file for every layer and one for the rest."""
    width, inner, kept = config.hidden_size, config.intermediate_size, config.num_key_value_heads * config.head_dim
    matrices = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (kept, width),
        "self_attn.v_proj": (kept, width),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
    }
    where: dict[str, str] = {}

    def write(file: str, tensors: dict[str, torch.Tensor]) -> None:
        save_file(tensors, folder / file)
        where.update(dict.fromkeys(tensors, file))

    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        drawn = {f"{prefix}{name}.weight": _drawn(*shape) for name, shape in matrices.items()}
        norms = ("input_layernorm", "post_attention_layernorm")
        write(f"layer-{layer:03}.safetensors", drawn | {f"{prefix}{norm}.weight": torch.ones(width) for norm in norms})
    rows = config.vocab_size
    ends = {"model.embed_tokens.weight": _drawn(rows, width), "lm_head.weight": _drawn(rows, width)}
    write("ends.safetensors", ends | {"model.norm.weight": torch.ones(width)})
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    config.save_pretrained(folder)
    train_toy_tokenizer().save_pretrained(folder)


def _drawn(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, dtype=torch.bfloat16).mul_(columns**-0.5)


def _batches(tokens: torch.Tensor) -> Iterator[torch.Tensor]:
    return iter(tokens.split(SPEC.batch_size))


def now() -> NDArray[np.float64]:
    """Return the seconds (2,) of the clock and of this process's processor."""
    return np.array([time.monotonic(), time.process_time()])


def opened(
    folder: Path, scratch: Path, n_sequences: int, length: int
) -> tuple[OpenModel, torch.Tensor, NDArray[np.float64]]:
    begun = now()
    model = open_model(folder, device="cpu", offload=scratch / "offload")
    seconds = now() - begun
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(embedding_rows(model.module), (n_sequences, length), generator=generator)
    return model, tokens, seconds


def bare(folder: Path, scratch: Path, n_sequences: int, length: int) -> dict[str, Any]:
    """Return seconds of everything that cannot be left out."""
    model, tokens, _ = opened(folder, scratch, n_sequences, length)
    assert model.weights is not None
    steps, (reading, running, again) = LayerSteps(model.module), np.zeros((3, 2))
    before: list[list[torch.Tensor]] = [[] for _ in _batches(tokens)]
    for layer in range(steps.n_layers):
        begun = now()
        with model.holding(layer):
            parameters = list(decoder_layers(model.module)[layer].parameters())
            for parameter in parameters:
                parameter.detach().view(torch.int16).sum()  # comes from the disk only when it is used
                parameter.requires_grad_(True)
            read = now()
            for index, batch in enumerate(_batches(tokens)):
                with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
                    steps.run(layer, batch, before[index])
            begun_again = now()
            for index, batch in enumerate(_batches(tokens)):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    (output,) = steps.run(layer, batch, [t.requires_grad_() for t in before[index]])
                output.backward(torch.ones_like(output))
                before[index] = [output.detach()]
                for parameter in parameters:
                    parameter.grad = None
        reading += read - begun
        again += begun_again - read
        running += now() - begun_again
    begun = now()
    for parameter in model.module.parameters():
        parameter.requires_grad_(False)
    for index, batch in enumerate(_batches(tokens)):
        with steps.after_last([t.requires_grad_() for t in before[index]]):
            gradients_at_head(model.module, batch, SPEC, seed=0)
    head = now() - begun
    return {"reading": reading, "running": running, "head": head, "again": again, "moments": _moments(model, tokens)}


def _moments(model: OpenModel, tokens: torch.Tensor) -> NDArray[np.float64]:
    """Return seconds of the products of all layers' moments, on random rows of the same widths."""
    groups = [group for group in model.inventory.groups if group.layer == 0]
    widths = [min(p.out_features, p.in_features) for group in groups for p in group.members]
    for group in groups:
        keeps_input = keeps_input_moment(group, model.inventory.downs)
        widths.append(group.in_features if keeps_input else group.out_features)
    seconds = np.zeros(2)
    for width in widths:
        total = torch.zeros(width, width)
        for batch in _batches(tokens):
            rows = torch.randn(batch.numel(), width)
            begun = now()
            add_outer(total, rows)
            seconds += now() - begun
    return model.inventory.n_layers * seconds


def streamed(folder: Path, scratch: Path, n_sequences: int, length: int) -> dict[str, Any]:
    """Return seconds, bytes and the peak of memory of the statistics."""
    kept = scratch / "boundaries"
    kept.mkdir()
    model, tokens, opening = opened(folder, scratch, n_sequences, length)
    assert model.weights is not None
    opened_bytes, n_layers = model.weights.bytes_read, model.inventory.n_layers
    one_pass = StreamedPass(model.module, model.holding, model.inventory, tokens, SPEC, Boundaries(kept))
    begun, most_kept = now(), 0

    def look(stage: str, fraction: float | None, message: str) -> None:
        nonlocal most_kept
        most_kept = max(most_kept, sum(file.stat().st_size for file in kept.iterdir()))

    for statistics, _ in one_pass.statistics(range(n_layers), look):
        save_file(statistics.to_tensors(), scratch / "statistics.safetensors")
        del statistics
    layer = decoder_layers(model.module)[0]
    return {
        "opening": opening,
        "seconds": now() - begun,
        "peak": peak_bytes(),
        "read": model.weights.bytes_read - opened_bytes,
        "read at opening": opened_bytes,
        "kept": most_kept,
        "layer": sum(p.nbytes for p in layer.parameters()),
        "moments": layer_bytes(model.inventory, [0], n_sequences),
        "ends": sum(p.nbytes for p in model.module.parameters()) - n_layers * sum(p.nbytes for p in layer.parameters()),
        "model": sum(p.nbytes for p in model.module.parameters()),
    }


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmHWM:")).split()[1])


def alone(work: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """Run something in a process of its own, so that its peak of memory is its own."""
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        tempfile.TemporaryDirectory(dir=str(arguments[0])) as scratch,
    ):
        return pool.submit(work, arguments[0], Path(scratch), *arguments[1:]).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_shapes(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        write_llama(Path(folder), llama_config(given, given.layers))
        text = (given.sequences, given.length)
        _print(alone(bare, Path(folder), *text), alone(streamed, Path(folder), *text), given.layers)


def _print(least: dict[str, Any], found: dict[str, Any], n_layers: int) -> None:
    total = least["reading"] + least["running"] + least["head"]
    needed = total + least["again"] + least["moments"]
    rows = {
        "model, GB": found["model"] / 1e9,
        "one layer, GB": found["layer"] / 1e9,
        "embeddings and head, GB": found["ends"] / 1e9,
        "moments of a layer, GB": found["moments"] / 1e9,
        "peak resident memory, GB": found["peak"] / 1e9,
        "states and gradients on disk at most, GB": found["kept"] / 1e9,
        "read while opening, GB": found["read at opening"] / 1e9,
        "read by the pass, GB": found["read"] / 1e9,
        "opening, s": found["opening"],
        "bare: reading, s per layer": least["reading"] / n_layers,
        "bare: forward and backward, s per layer": least["running"] / n_layers,
        "bare: head, s": least["head"],
        "bare in all, s": total,
        "streamed pass, s": found["seconds"],
        "streamed pass, s per layer": (found["seconds"] - least["head"]) / n_layers,
        "streamed over bare": found["seconds"] / total,
        "once more forward, s per layer": least["again"] / n_layers,
        "moments, s per layer": least["moments"] / n_layers,
        "bare, once more forward and moments, over bare": needed / total,
        "streamed over these": found["seconds"] / needed,
    }
    sys.stdout.write("| figure | value | of the processor |\n|---|---|---|\n")
    for name, value in rows.items():
        shown = [f"{one:.2f}" for one in np.atleast_1d(value)]
        sys.stdout.write(f"| {name} | {' | '.join(shown if len(shown) > 1 else [*shown, ''])} |\n")


if __name__ == "__main__":
    main()
