"""``python -m tests.campaign [KIND...]``: wrong input, kills and load against the whole program; a table at the end.

The same seed gives the same cases. Ends with status 1 if anything was found; each finding is printed with the words
that repeat it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from tests.campaign import bad_inputs, kills, load, shards
from tests.campaign.ground import Ground
from tests.campaign.options import Options

KINDS = {"bad_inputs": bad_inputs.run, "kills": kills.run, "load": load.run, "shards": shards.run}
FORKED_WITH = (
    "transformers.models.llama.modeling_llama",
    "engine.evaluation.tasks",
    *(
        f"engine.pipeline.{of}"
        for of in (
            "analyse",
            "compare",
            "evaluate",
            "export",
            "post_train",
            "refine",
            "rounding",
            "search",
            "sensitivity",
        )
    ),
)
"""What is imported once, for all the processes that are forked."""


def main(words: list[str]) -> int:
    """Run the campaigns that are named, or all; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument(
        "--cases", type=int, help="of each kind (wrong inputs, kills, pages); default: enough for a campaign"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="of each kind, at most")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--only", default="", help="cases with this in their name")
    given = parser.parse_args(words)
    if unknown := set(given.kinds) - set(KINDS):
        parser.error(f"there is no campaign {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    torch.set_num_threads(1)
    for module in FORKED_WITH:
        import_module(module)
    with tempfile.TemporaryDirectory(prefix="rankscope-campaign-", ignore_cleanup_errors=True) as folder:
        ground = Ground.make(Path(folder) / "ground")
        found = 0
        for kind in given.kinds or KINDS:
            place = Path(folder) / kind
            place.mkdir()
            options = Options(place, given.cases, given.seed, given.minutes, given.at_once, given.only)
            found += KINDS[kind](ground, options)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
