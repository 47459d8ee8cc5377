"""``python -m tests.mutants [NAME...]``: break one line of a copy of this tree at a time; its tests have to fail.

``FROM:TO`` in the place of a name stands for the mutants at these places of the list. Prints a table and ends with
status 1 if a mutant survives, or if the line it changes is no longer in its file.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import hypothesis  # noqa: F401 -- once, for the processes that are forked below; so are the next two
import pytest
import torch
import transformers  # noqa: F401

from tests.mutants.listed import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
TREE = ("app", "cache", "engine", "tests", "docs", "pyproject.toml", "README.md", "LICENSE")
CAUGHT, SURVIVED = 1, 0
LONGEST_S = 300.0
FORK = multiprocessing.get_context("fork")


def main(names: list[str]) -> int:
    """Try the mutants with these names or at these places, or all; return the exit status."""
    slices = {name for name in names if re.fullmatch(r"\d*:\d*", name)}
    places = [slice(*(int(place) if place else None for place in name.split(":"))) for name in slices]
    wanted = {m.name for place in places for m in MUTANTS[place]} | (set(names) - slices)
    if unknown := wanted - {m.name for m in MUTANTS}:
        raise SystemExit(f"There is no mutant {', '.join(sorted(unknown))}; see tests/mutants/listed.py.")
    chosen = [m for m in MUTANTS if not names or m.name in wanted]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="rankscope-mutants-") as folder:
        copy = Path(folder)
        for name in TREE:
            place = ROOT / name
            if place.is_dir():
                shutil.copytree(place, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif place.exists():
                shutil.copy2(place, copy / name)
        for mutant in chosen:
            begun = time.monotonic()
            outcome = tried(mutant, copy)
            bad += outcome != "caught"
            print(f"{outcome:<9} {time.monotonic() - begun:6.1f} s  {mutant.name}: {mutant.breaks}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} mutants were caught.")
    return int(bad > 0)


def tried(mutant: Mutant, copy: Path) -> str:
    """Apply a mutant to the copy, run its tests, take it back, and return what came of it."""
    path = copy / mutant.file
    original = path.read_text("utf-8") if path.is_file() else ""
    if original.count(mutant.old) != 1:
        return f"NOT FOUND ({original.count(mutant.old)} × in {mutant.file})"
    path.write_text(original.replace(mutant.old, mutant.new), "utf-8")
    try:
        return outcome_of(copy, mutant)
    finally:
        path.write_text(original, "utf-8")


def outcome_of(copy: Path, mutant: Mutant) -> str:
    """Run the tests of a mutant that is applied; only a failed test catches it, not a test that cannot be read."""
    log = copy / "mutant.log"
    child = FORK.Process(target=run_tests, args=(copy, mutant, log))
    child.start()
    child.join(LONGEST_S)
    if child.is_alive():  # waits for what the mutant never does, beyond the time any test has
        child.kill()
        return "caught"
    said = log.read_text(errors="replace")
    if child.exitcode == CAUGHT:
        return "caught"
    if child.exitcode == SURVIVED:
        return "SURVIVED" if " passed" in said else "SKIPPED"
    return f"ERROR {child.exitcode}: {said[-600:]}"


def run_tests(copy: Path, mutant: Mutant, log: Path) -> None:
    """Run the tests of the copy in this process, which has imported nothing of the product, and end it."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(copy)
    torch.set_num_threads(1)
    # No bytecode: a file that changes twice within a second would be read as it was before.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["PYTHONPATH"] = str(copy)
    sys.path[:] = [str(copy), *(place for place in sys.path if Path(place or ".").resolve() not in {ROOT, copy})]
    for name in [name for name in sys.modules if name.partition(".")[0] in {"app", "cache", "engine", "tests"}]:
        del sys.modules[name]
    arguments = ["-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not long and not sweep"]
    if mutant.only:
        arguments += ["-k", mutant.only]
    sys.exit(int(pytest.main([*arguments, *(f"tests/{name}" for name in mutant.tests)])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
