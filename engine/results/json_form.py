"""Values as JSON and back, by the names and types of their fields: what jobs return and commands print."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

T = TypeVar("T")


def to_json(value: object) -> Any:
    """Return a value as plain JSON; a field that has a default is left out where it has that value."""
    kind: Any = type(value)
    return _adapter(kind).dump_python(value, mode="json", exclude_defaults=True)


def from_json(kind: type[T], document: object) -> T:
    """Return the value that a document was made of; names it has beside the fields do no harm.

    Raises:
        ValidationError: a field is missing, or of another type.
    """
    adapter: TypeAdapter[T] = _adapter(cast("Any", kind))
    return adapter.validate_python(document)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
