"""Wrong and odd arguments of every command, from the command line's own list of parameters."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import typer

from engine.cli import command
from engine.operations import operations
from tests.campaign.cases import Case
from tests.campaign.ground import ARCHIVE, FAST, LONG, SAVED
from tests.campaign.pages import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.campaign.ground import Ground

NUMBERS = (
    *("nan", "inf", "-inf", "1e308", "-1e308", "1e-308", "-1", "0", "-0.0", "1", "0.5", "1.5", "1e3", "0x10"),
    *(str(2**31), str(2**63), str(-(2**63)), str(10**20), "9" * 5000, "1_000", "\u0663", "\u00bd", "", " "),
    *("true", "null", "[]", "one", "1,2", ",", "1;2", "--", "1 2"),
)
PATHS = (
    *("", ".", "..", "/", "missing", "missing.json", "missing.txt", "home", "home/artifacts", "corpus.txt", "model"),
    *("map.json", "table.csv", "odd", "odd/dangling", "odd/loop", "odd/empty", "odd/binary", "odd/folder.json"),
    *("odd/pipe", "odd/pipe.txt", "odd/endless.json", "odd/[red]x[/red]", "odd/[red]x[/red]/y.json"),
    *("/dev/zero", "/dev/null", "/dev/full", "/proc/self/mem", "/proc/nothing/x", "/sys/x.json", "/etc/passwd/x"),
    *(LONG, f"{LONG}.json", f"{LONG}.txt", "a/" * 3000, "~", "~nobody-here/x", "\udcff", "\udcff.txt", "x\ny.txt"),
    *("file:///etc/passwd", "https://example.org/x.json", "sqlite:///missing/x.db", "sqlite:///odd/binary"),
)
WORDS = (
    *("", " ", "x", "*", "..", "../..", "%s", "{}", "{article}", "{0.__class__}", "[red]", "[/]", ":smile:"),
    *("' OR 1=1 --", "<script>", "\x1b[31m", "\u202e", "\U0001f600", "e\u0301", "-", "--", "@", "@missing"),
    *(f"@{SAVED}", "0" * 64, "0" * 12, "a", "auto", "cpu", "cuda:99", "meta", "cpu:5", "loss", "LOSS", "float64"),
    *("int8", "uniform", "water-filling,", ",,", "wikitext@", "a:b@c", "demo:", "demo:x", "null", "1", "9" * 400),
)
SETS = {
    **dict(zip(("n_sequences", "length"), FAST[1::2], strict=True)),
    **{"text": "corpus.txt", "other_text": "", "keep": "0.7", "to": "out.json", "prompt": "The", "trials": "2"},
    **{"minutes": "0.02", "max_steps": "2", "n_allocations": "2", "n_subset": "2", "methods": "uniform"},
    **{"kept_fractions": "0.8", "max_new_tokens": "2", "model": "model", "held_out": "2", "tasks": "", "articles": "0"},
}
"""What makes a command fast, by the name of its parameter; given wherever it is not the parameter that is tried."""

FILES = {("report",): "report.html", ("analysis", "export"): "out.tar", ("analysis", "import"): ARCHIVE}
RIVALS = {"mb": "keep", "perplexity_ratio": "keep", "prompt_file": "prompt"}
NEEDS = {
    **dict.fromkeys(("epochs", "learning_rate"), "train"),
    **dict.fromkeys(("start", "end", "schedule", "stages", "step", "method", "storage"), "progressive"),
    **dict.fromkeys(("low", "high"), "pareto"),
    **dict.fromkeys(("article_text", "article_field", "summary_field", "article_length", "template"), "articles"),
    **{"kept_fraction": "measure", "gamma": "importance"},
}
"""Options that are read only beside another one."""


def cases(ground: Ground) -> Iterator[Case]:
    """Yield every value of the lists, and values just out of range, for every parameter of every command."""
    for path, one in _commands(typer.main.get_command(command)):
        yield from _without_parameters(path)
        for parameter in one.params:
            if not getattr(parameter, "is_flag", False):
                for value in dict.fromkeys(_values(path, parameter)):
                    name = f"{' '.join(path)} {_spelt(parameter)}={value[:60]!a} of {len(value)}"
                    words = _words(path, one.params, parameter, value, ground)
                    yield Case(f"arguments: {name}", words)


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, one in getattr(group, "commands", {}).items():
        if name != PAGE:
            yield from _commands(one, (*path, name))
    if not hasattr(group, "commands"):
        yield path, group


def _without_parameters(path: tuple[str, ...]) -> Iterator[Case]:
    for words in ((), ("--wrong",), ("x",) * 12, ("--json", "--json"), ("-",), ("--help",)):
        if words or path not in {("app",), ("demo",), ("compare",)}:
            yield Case(f"arguments: {' '.join(path)} {words!r}", (*path, *words))


def _values(path: tuple[str, ...], parameter: Any) -> Iterator[str]:
    setting = operations.get(path[0]).settings().get(parameter.name) if path[0] in operations.names() else None
    is_number = (setting.kind if setting else parameter.type_descriptor.annotation) in {int, float}
    yield from (*NUMBERS, *WORDS[:6]) if is_number else (*PATHS, *WORDS)
    if setting is not None:
        for bound, step in product((setting.ge, setting.gt, setting.le, setting.lt), (-1, 0, 1)):
            if bound is not None:
                yield f"{bound + step:.17g}"


def _words(path: tuple[str, ...], parameters: list[Any], tried: Any, value: str, ground: Ground) -> tuple[str, ...]:
    known = {"analysis_id": ground.analysis, "job_id": ground.job, "rank_map": "map.json", "rank_maps": "map.json"}
    known |= {"saved_map": SAVED, "name": "new", "folder": "new-folder", "file": "map.json", "model": "model"}
    known |= {"file": FILES[path]} if path in FILES else {}
    positional, options = [], []
    for one in parameters:
        given = value if one is tried else known.get(one.name, SETS.get(one.name))
        if one.param_type_name == "argument":
            positional.append(given)
        elif one.name == NEEDS.get(tried.name):
            options.append(one.opts[0] if one.is_flag else f"{one.opts[0]}=2")
        elif given is not None and not one.is_flag and _is_given(one.name, tried.name):
            options.append(f"{one.opts[0]}={given}")
    if path == ("app",):
        options.append("--no-demo")
    return (*path, *options, "--", *positional)


def _is_given(name: str, tried: str) -> bool:
    return name == tried or (name not in RIVALS and name != RIVALS.get(tried))


def _spelt(parameter: Any) -> str:
    return str(parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper())
