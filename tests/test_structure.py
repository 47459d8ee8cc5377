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

FLOW = (
    *("errors", "paths", "types", "specs", "formats", "precision", "registry", "progress", "machine", "settings"),
    *("devices", "text", "model", "calibration", "factorization", "analysis", "allocation", "rank_map", "methods"),
    *(
        "compression",
        "quantization",
        "decoding",
        "refinement",
        "evaluation",
        "results",
        "prediction",
        "search",
    ),
    *("report", "export", "jobs", "pipeline", "playground", "operations", "cli"),
)
"""What the engine consists of; everything imports only from what stands before it."""


def test_the_engine_is_packages_of_stages_beside_a_dozen_modules_of_vocabulary() -> None:
    loose = sorted(path.stem for path in ROOTS[1].glob("*.py") if path.stem != "__init__")
    assert len(loose) <= MOST_LOOSE_MODULES, loose


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Which module needs which when it runs, imports inside functions included."""
    return grimp.build_graph("app", "engine", "cache", exclude_type_checking_imports=True, cache_dir=None)


def test_no_file_is_part_of_an_import_circle(graph: grimp.ImportGraph) -> None:
    needed = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    with_nothing_left = [module for module, others in needed.items() if not others]
    while with_nothing_left:
        done = with_nothing_left.pop()
        del needed[done]
        for module, others in needed.items():
            if done in others:
                others.discard(done)
                if not others:
                    with_nothing_left.append(module)
    assert not needed


def test_imports_of_the_engine_follow_the_flow(graph: grimp.ImportGraph) -> None:
    place = {f"engine.{name}": number for number, name in enumerate(FLOW)}
    against = set()
    for module in graph.find_descendants("engine"):
        for imported in graph.find_modules_directly_imported_by(module):
            first, second = (".".join(name.split(".")[:2]) for name in (module, imported))
            if first != second and second.startswith("engine.") and place[first] < place[second]:
                against.add((module, imported))
    assert not against


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
    assert not long


def test_what_operations_pipeline_and_app_hand_on_has_a_type() -> None:
    """What is only written, such as cells of a table or a message to the browser, is of ``dict[str, object]``."""
    folders = (ROOTS[0], ROOTS[1] / "operations", ROOTS[1] / "pipeline")
    untyped = {
        f"{path}:{node.lineno}"
        for folder in folders
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]"
    }
    assert not untyped


def _n_positional(function: ast.FunctionDef) -> int:
    arguments = (*function.args.posonlyargs, *function.args.args)
    return sum(argument.arg not in {"self", "cls"} for argument in arguments)
