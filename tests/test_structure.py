"""What a listing of the code promises: few loose modules, and functions that can be called without counting."""

from __future__ import annotations

import ast
from pathlib import Path

import grimp
import pytest

import app
import cache
import engine

ROOTS = tuple(Path(str(package.__file__)).parent for package in (app, engine, cache))
COMMANDS = ROOTS[1] / "cli"
MOST_LOOSE_MODULES = 12
MOST_POSITIONAL = 7
MORE_POSITIONAL = {"board_data", "allocate_to_target", "allocate_rank_map", "_calibrate", "_write_analysis"}
"""Functions that still take more arguments by position; none is added."""


def test_the_engine_is_packages_of_stages_beside_a_dozen_modules_of_vocabulary() -> None:
    loose = sorted(path.stem for path in ROOTS[1].glob("*.py") if path.stem != "__init__")
    assert len(loose) <= MOST_LOOSE_MODULES, loose


def test_no_module_imports_the_package_it_is_in() -> None:
    """With import-linter's contract on siblings no file is part of an import circle."""
    graph = grimp.build_graph("app", "engine", "cache", cache_dir=None)
    upward = [
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if module.startswith(f"{imported}.")
    ]
    assert not upward


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_no_function_takes_more_than_seven_arguments_by_position(root: Path) -> None:
    """Commands are no exception in earnest: typer names every argument."""
    long = {
        function.name
        for path in root.rglob("*.py")
        if COMMANDS not in path.parents
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef) and _n_positional(function) > MOST_POSITIONAL
    }
    assert long <= MORE_POSITIONAL


def _n_positional(function: ast.FunctionDef) -> int:
    arguments = (*function.args.posonlyargs, *function.args.args)
    return sum(argument.arg not in {"self", "cls"} for argument in arguments)
