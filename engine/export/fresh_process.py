"""Open an exported folder in an interpreter that cannot import RankScope, and compare its logits.

Run as ``python -I fresh_process.py FOLDER REFERENCE CODE PLACED``: REFERENCE is a safetensors file with ``tokens`` and
``logits``, CODE is ``yes`` where the folder's own code may run, PLACED is the device map in JSON, or empty. The last
line printed is JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_OURS = {"app", "cache", "engine"}


class _NoRankScope:
    """Refuses to import the project; an editable installation is importable from anywhere."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:  # noqa: ARG004
        if name.partition(".")[0] in _OURS:
            raise ModuleNotFoundError(f"An export must not import {name}.", name=name)


def main(folder: str, reference: str, code: str, placed: str) -> None:
    """Print what came out."""
    sys.meta_path.insert(0, _NoRankScope)
    import torch
    import transformers
    from safetensors.torch import load_file

    stored = load_file(reference)
    trust = code == "yes"
    transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    where = {"device_map": json.loads(placed), "offload_folder": str(Path(reference).parent)} if placed else {}
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", trust_remote_code=trust, output_loading_info=True, **where
    )
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=stored["tokens"], use_cache=False).logits.float()
        model.generate(stored["tokens"][:1, :4], attention_mask=torch.ones(1, 4), max_new_tokens=2, do_sample=False)
    found = {
        "difference": (logits - stored["logits"]).abs().max().item(),
        "same_top": (logits.argmax(-1) == stored["logits"].argmax(-1)).float().mean().item(),
        "finite": bool(logits.isfinite().all()),
        "unmatched": sorted({str(key) for keys in loading.values() for key in keys}),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
