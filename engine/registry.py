"""Names that users type, and what they stand for."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from engine.errors import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
Registered = TypeVar("Registered")


class Registry(Generic[T]):
    """Things of one kind by their stable, kebab-case names.

    Args:
        kind: what is registered, in the words of an error message ("allocation method").
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Return a decorator that enters its object under ``name`` and leaves its own type as it is.

        Raises:
            InvalidSpecError: the name is taken.
        """

        def enter(entry: Registered) -> Registered:
            if name in self._entries:
                raise InvalidSpecError(f"The {self._kind} {name!r} is registered already; choose another name.")
            self._entries[name] = cast("T", entry)
            return entry

        return enter

    def get(self, name: str) -> T:
        """Return what was registered under ``name``.

        Raises:
            InvalidSpecError: nothing was; the message lists the names and suggests the nearest.
        """
        if name not in self._entries:
            raise InvalidSpecError(unknown_name(self._kind, name, self._entries))
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """Return every registered name, in the order of registration."""
        return tuple(self._entries)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for a name that is not among the (few) ``known`` ones."""
    known = list(known)
    near = did_you_mean(name, known)
    return f"The {kind} {shown(name)} does not exist{near}; choose one of {', '.join(known)}."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known name, or nothing if none is near."""
    # Names longer than any real one are not worth a quadratic comparison.
    near = difflib.get_close_matches(name, known, n=1) if len(name) <= 512 else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def shown(text: str, limit: int = 120) -> str:
    """Return untrusted text quoted, on one line and cut to ``limit`` characters, for use in a sentence."""
    return repr(text if len(text) <= limit else text[:limit] + "…")
