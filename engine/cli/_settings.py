"""An option for every setting of an operation, with its help and its default."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer
from rich.markup import escape

from engine.cli._console import EngineName, Resources, queue_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.operations import Operation, Setting

Settings: TypeAlias = dict[str, Any]
"""The settings of an operation that were given on the command line, by name."""

_METAVARS: Final = {int: "INTEGER", float: "FLOAT", str: "TEXT", bool: None}


def with_settings(operation: type[Operation], **names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command an option for every setting of an operation.

    The command's parameter ``settings`` receives those that were given, as they were typed: the operation reads and
    checks them. A setting that has to be given, or that the command has a parameter of its own for, gets no option.
    Its parameter ``queue`` receives the queue whose new jobs run where two further options say.

    Args:
        operation: whose settings.
        names: setting -> its option, where that is not named after it.
    """
    settings = operation.settings()

    def widen(command: Callable[..., None]) -> Callable[..., None]:
        own = dict(inspect.signature(command, eval_str=True).parameters)
        del own["settings"], own["queue"]
        options = {
            name: _option(setting, names.get(name), operation.default_text(name))
            for name, setting in settings.items()
            if not setting.is_required and name not in own
        }

        @functools.wraps(command)
        def run(**values: Any) -> None:
            given = {name: value for name in options if (value := values.pop(name)) is not None}
            lists = {name: listed(value) for name, value in given.items() if settings[name].is_list}
            queue = queue_on(values.pop("engine"), values.pop("resources"))
            command(**values, settings=given | lists, queue=queue)

        parameters = [
            p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own.values(), *options.values(), *_WHERE)
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return widen


_WHERE: Final = tuple(
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
    for name, kind in (("engine", EngineName), ("resources", Resources))
)


def listed(text: str) -> list[str]:
    """Return what stands between the commas of a text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _option(setting: Setting, name: str | None, default: str) -> inspect.Parameter:
    option = name or f"--{setting.name.replace('_', '-')}"
    if setting.kind is bool:
        option = f"{option}/--no-{option.removeprefix('--')}"
    choices = f" One of {', '.join(setting.choices)}." if setting.choices else ""
    usual = f" Default: {default}" if default else ""
    metavar = _METAVARS[setting.kind]
    described = typer.Option(
        option,
        help=escape(f"{setting.help}{choices}{usual}"),
        metavar=f"{metavar},…" if setting.is_list else metavar,
        show_default=False,
    )
    kind = bool | None if setting.kind is bool else str | None
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, described]
    )
