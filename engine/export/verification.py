"""Check an exported folder: a fresh interpreter opens it, and its logits are compared with those in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from engine.errors import ExportError
from engine.export import fresh_process
from engine.model.module import device_of, dtype_of, embedding_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

N_SEQUENCES = 4
LENGTH = 32
_ROUNDING = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceLogits:
    """What a model in memory answers to some tokens.

    Attributes:
        tokens: (n_sequences, length).
        logits: (n_sequences, length, vocabulary) float32.
        allowed: largest absolute difference that is taken for rounding.
    """

    tokens: torch.Tensor
    logits: torch.Tensor
    allowed: float


@dataclass(frozen=True, slots=True)
class Verification:
    """What came out of opening a folder in a fresh interpreter.

    Attributes:
        max_logit_difference: largest absolute one.
        largest_logit: in memory, absolute.
        n_tokens: compared.
        same_top: fraction of them after which the most probable token is the same.
        versions: of what opened it.
    """

    max_logit_difference: float
    largest_logit: float
    n_tokens: int
    same_top: float
    versions: dict[str, str]


@torch.no_grad()
def take_logits(module: nn.Module) -> ReferenceLogits:
    """Run seeded random tokens through a model in evaluation mode."""
    tokens = compared_tokens(module)
    return reference_logits(module, tokens, module(input_ids=tokens.to(device_of(module)), use_cache=False).logits)


def compared_tokens(module: nn.Module) -> torch.Tensor:
    """Return seeded random tokens that a model knows, (n_sequences, length)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(embedding_rows(module), (N_SEQUENCES, LENGTH), generator=generator)


def reference_logits(module: nn.Module, tokens: torch.Tensor, logits: torch.Tensor) -> ReferenceLogits:
    """Return what a model answered to some tokens."""
    logits = logits.float().cpu()
    return ReferenceLogits(tokens, logits.contiguous(), allowed_rounding(module, logits))


@torch.no_grad()
def take_greedy_logits(module: nn.Module) -> ReferenceLogits:
    """Run seeded random tokens and the model's own greedy continuation of them through a model in evaluation mode."""
    causal: Any = module
    rows = causal.get_input_embeddings().weight.shape[0]
    tokens = torch.randint(rows, (N_SEQUENCES, LENGTH // 2), generator=torch.Generator().manual_seed(0))
    while tokens.shape[1] < LENGTH:
        following = causal(input_ids=tokens, use_cache=False).logits[:, -1:].argmax(-1)
        tokens = torch.cat([tokens, following], dim=1)
    logits = causal(input_ids=tokens, use_cache=False).logits.float()
    return ReferenceLogits(tokens, logits.contiguous(), allowed_rounding(module, logits))


def allowed_rounding(module: nn.Module, logits: torch.Tensor) -> float:
    """Return the largest absolute difference from a model's logits that is taken for rounding."""
    return _ROUNDING[dtype_of(module)] * max(1.0, float(logits.abs().max()))


def verify(
    folder: Path, reference: ReferenceLogits, *, runs_own_code: bool, placed: Mapping[str, str] | None = None
) -> Verification:
    """Open a folder in an interpreter that cannot import RankScope and compare.

    Args:
        folder: of a transformers model.
        reference: from the model in memory.
        runs_own_code: whether the folder has to be opened with ``trust_remote_code=True``.
        placed: module -> the device it is opened on, or ``disk`` for what is read when it runs; ``None``: in memory.

    Raises:
        ExportError: it does not open there, or answers differently.
    """
    with tempfile.TemporaryDirectory(prefix="rankscope-export-") as scratch:
        file = Path(scratch) / "reference.safetensors"
        save_file({"tokens": reference.tokens, "logits": reference.logits}, file)
        # Transformers copies the code it runs; that copy goes with the rest.
        own_code = "yes" if runs_own_code else "no"
        words = [fresh_process.__file__, str(folder), str(file), own_code, json.dumps(placed) if placed else ""]
        found = run_fresh(words, {"HF_MODULES_CACHE": scratch, "HF_HUB_OFFLINE": "1"})
    if found["unmatched"]:
        raise ExportError(
            f"The exported model opens with {len(found['unmatched'])} tensors that do not match, for example "
            f"{found['unmatched'][0]}; nothing was left behind."
        )
    if not found["finite"] or not found["difference"] <= reference.allowed:
        raise ExportError(
            f"The exported model's logits differ by up to {found['difference']:.3g} from those in memory, where "
            f"{reference.allowed:.3g} is taken for rounding; nothing was left behind."
        )
    return Verification(
        found["difference"],
        float(reference.logits.abs().max()),
        reference.tokens.numel(),
        found["same_top"],
        {name: found[name] for name in ("torch", "transformers")},
    )


def run_fresh(words: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run a program in an interpreter that finds nothing of this project, and return the JSON of its last line.

    Args:
        words: file of the program, and its arguments.
        environment: beside this process's own.

    Raises:
        ExportError: it failed.
    """
    command = [sys.executable, "-I", "-B", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1][:300].rstrip(".") if lines else f"it ended with code {done.returncode}"
        error = ExportError(
            f"The exported model does not open in a process without RankScope ({reason}); nothing was left behind."
        )
        error.add_note("\n".join(lines[-30:]))
        raise error
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
