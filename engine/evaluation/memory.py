"""Peak resident memory of a process that does nothing but load a model folder and run it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.errors import ModelError

if TYPE_CHECKING:
    from engine.evaluation.specs import MemorySpec

_PROBE: Final = Path(__file__).with_name("memory_probe.py")


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """What was measured.

    Attributes:
        peak_bytes: the largest resident size.
        base_bytes: the same before the model was loaded: Python and its packages.
    """

    peak_bytes: int
    base_bytes: int


def measure_peak_memory(folder: Path, spec: MemorySpec, *, trust_remote_code: bool = False) -> PeakMemory:
    """Load any transformers folder in a fresh process, run it, and return its peak.

    Args:
        folder: of a dense or an exported compressed model.
        spec: how it is run.
        trust_remote_code: run Python code found in the folder; an exported compressed model needs it.

    Raises:
        ModelError: the process did not get through.
    """
    remote_code = "remote-code" if trust_remote_code else "no-remote-code"
    # -P: nothing is imported from where the program lies.
    command = [sys.executable, "-P", str(_PROBE), str(folder), spec.dtype, str(spec.n_tokens), remote_code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:200].rstrip(".")
        raise ModelError(
            f"The memory of {folder.name} could not be measured because it does not load and run by itself ({said}); "
            "expected a folder that AutoModelForCausalLM opens."
        )
    return PeakMemory(**json.loads(done.stdout.splitlines()[-1]))
