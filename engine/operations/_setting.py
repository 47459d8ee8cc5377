"""One argument of an operation, as a command line, a form and an error message see it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from engine.registry import did_you_mean, shown

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_ONE: Final = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
_SEVERAL: Final = {int: "whole numbers", float: "numbers", str: "texts", bool: "true or false"}
_BOUNDS: Final = ("ge", "gt", "le", "lt")


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of an argument beside its value.

    Attributes:
        name: of the argument.
        help: what it decides, for people.
        kind: ``int``, ``float``, ``bool`` or ``str``; of the members of a list.
        default: where it is left out; ``None`` if it has to be given, too.
        is_required: it has to be given.
        is_list: it takes several values.
        is_filled: an empty list is no value.
        choices: all values there are; empty if there are too many to list.
        ge: lowest value; ``gt`` if that value itself is too low.
        gt: see ``ge``.
        le: highest value; ``lt`` if that value itself is too high.
        lt: see ``le``.
    """

    name: str
    help: str
    kind: type
    default: Any
    is_required: bool
    is_list: bool = False
    is_filled: bool = False
    choices: tuple[str, ...] = ()
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    @classmethod
    def of(cls, name: str, field: FieldInfo) -> Setting:
        """Return the setting that a field of a model describes."""
        kind, constraints, is_list = _resolved(field.annotation)
        constraints = constraints + field.metadata
        choices = tuple(map(str, kind)) if isinstance(kind, type) and issubclass(kind, StrEnum) else ()
        if get_origin(kind) is Literal:
            choices = get_args(kind)
        bounds = {bound: getattr(c, bound) for c in constraints for bound in _BOUNDS if hasattr(c, bound)}
        default = None if field.is_required() else field.default
        plain = str if choices else kind
        is_filled = any(getattr(constraint, "min_length", 0) for constraint in field.metadata)
        text = field.description or ""
        return cls(name, text, plain, default, field.is_required(), is_list, is_filled, choices, **bounds)

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        if self.choices:
            return f"{'at least one' if self.is_list else 'one'} of {', '.join(self.choices)}"
        limits = [
            f"{how} {limit:.10g}"
            for how, limit in (("of at least", self.ge), ("above", self.gt), ("at most", self.le), ("below", self.lt))
            if limit is not None
        ]
        words = f"a list of {_SEVERAL[self.kind]}" if self.is_list else _ONE[self.kind]
        return f"{words} {' and '.join(limits)}".rstrip() + (", at least one" if self.is_filled else "")

    def nearest(self, value: object) -> str:
        """Return `` (did you mean 'x'?)`` for a choice that was misspelt, else nothing."""
        return did_you_mean(value, self.choices) if isinstance(value, str) else ""

    def as_text(self, value: object) -> str:
        """Return a value as it is given on a command line."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).replace("\n", "\\n")


def quoted(value: object) -> str:
    """Return a value of any type for use in a sentence."""
    return shown(value) if isinstance(value, str) else shown(str(value))[1:-1]


def _resolved(annotation: Any) -> tuple[Any, list[Any], bool]:
    """Return the type behind an annotation, what constrains it there, and whether a list of it is meant."""
    if get_origin(annotation) is tuple:
        kind, constraints, _ = _resolved(get_args(annotation)[0])
        return kind, constraints, True
    if get_origin(annotation) in {Union, UnionType}:
        (kind,) = (arg for arg in get_args(annotation) if arg is not NoneType)
        return kind, [], False
    if get_origin(annotation) is Annotated:
        kind, *fields = get_args(annotation)
        return kind, [constraint for field in fields for constraint in field.metadata], False
    return annotation, [], False
