"""A program of its own: load a model folder, read a prompt, generate a token, print the peak of memory as JSON.

It is run by path in a fresh process and imports nothing of RankScope, so that nothing else is measured.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM


def peak_bytes() -> int:
    """Return the largest resident size since this program was started."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage: its maximum goes on counting the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(folder: str, dtype: str, n_tokens: str, remote_code: str) -> None:
    """Measure and print."""
    base = peak_bytes()
    module = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        trust_remote_code=remote_code == "remote-code",
    ).eval()
    rows = module.get_input_embeddings().weight.shape[0]
    prompt = (torch.arange(int(n_tokens)) * 7 % rows)[None]
    with torch.no_grad():
        output = module(input_ids=prompt, use_cache=True)
        module(input_ids=prompt[:, :1], past_key_values=output.past_key_values, use_cache=True)
    print(json.dumps({"base_bytes": base, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
