"""The ``rankscope`` command: every operation of the dashboard, for terminals and scripts; a module for each command.

Results go to standard output (``--json`` gives the documented JSON), progress and errors to standard error.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import typer

from cache import StoreError
from engine.cli import (
    allocate,
    analyse,
    analysis,
    app,
    cache,
    compare,
    compress,
    demo,
    devices,
    evaluate,
    export,
    fetch_demo,
    generate,
    jobs,
    maps,
    refine,
    report,
    search,
    sensitivity,
    spectra,
)
from engine.cli._console import err
from engine.errors import InvalidSpecError, RankScopeError

if TYPE_CHECKING:
    from collections.abc import Sequence

command = typer.Typer(
    name="rankscope",
    help="See, allocate and measure the rank structure of language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for _module in (
    fetch_demo,
    analyse,
    spectra,
    sensitivity,
    allocate,
    evaluate,
    search,
    refine,
    export,
    compare,
    compress,
    generate,
    report,
    devices,
    demo,
    app,
):
    _module.register(command)
for _group in (analysis, maps, jobs, cache):
    command.add_typer(_group.group, name=_group.__name__.rpartition(".")[2])


def main() -> None:
    """Run the command; a deliberate error is one sentence and exit code 1 (2: no such option)."""
    try:
        _require_utf8(sys.argv[1:])
        sys.exit(command(standalone_mode=False))
    except (RankScopeError, StoreError) as error:
        _refuse(str(error), 1)
    except typer.TyperException as error:
        _refuse(error.format_message(), error.exit_code)
    except typer.Abort:
        _refuse("Interrupted.", 1)
    except OSError as error:  # of the places that the home, the store and the command's own files are in
        if error.filename is None:
            raise
        _refuse(f"{error.filename} cannot be used ({error.strerror}); check its permissions and the disk.", 1)


def _require_utf8(words: Sequence[str]) -> None:
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise InvalidSpecError(f"The argument {word!r} is not UTF-8; give it in UTF-8.") from error


def _refuse(message: str, code: int) -> NoReturn:
    if message:  # none where the help was printed, for want of a command
        err.print(f"Error: {message}", style="red", highlight=False, soft_wrap=True)
    sys.exit(code)
