"""What every operation is: checked arguments, a title and a run; free of torch, like all modules of this package.

An operation's arguments travel as JSON: in the record of jobs, on a command line, from a form. Whatever computes is
imported when it runs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.errors import InvalidSpecError
from engine.operations._setting import Setting, quoted
from engine.registry import unknown_name

if TYPE_CHECKING:
    from pydantic import ModelWrapValidatorHandler

    from cache import Store
    from engine.progress import Report
    from engine.settings import Home

Spec = TypeVar("Spec")


class Operation(BaseModel):
    """The arguments of one thing a job can do.

    Attributes:
        name: what the record of jobs and the command line call it.
        preset_by: the argument that decides defaults of others, if there is one.
        preset_values: its value -> the defaults it changes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: ClassVar[str]
    preset_by: ClassVar[str] = ""
    preset_values: ClassVar[Mapping[str, Mapping[str, object]]] = {}

    @model_validator(mode="wrap")
    @classmethod
    def _one_sentence(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(values)
        except ValidationError as error:
            raise InvalidSpecError(cls._sentence(error)) from error

    @classmethod
    def _sentence(cls, error: ValidationError) -> str:
        """Say of the first wrong argument what was given and what was expected."""
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        settings = cls.settings()
        if name not in settings:
            return unknown_name(f"setting of {cls.name}", name, settings)
        setting = settings[name]
        if first["type"] == "missing":
            return f"The setting {name} of {cls.name} is missing; expected {setting.expected}."
        default = "" if setting.choices else cls.default_text(name)
        usual = default and f", such as the default {default}"
        return (
            f"The setting {name} of {cls.name} was given as {quoted(first['input'])}{setting.nearest(first['input'])}; "
            f"expected {setting.expected}{usual}."
        )

    @classmethod
    @cache
    def settings(cls) -> dict[str, Setting]:
        """Return what is known of every argument, by its name."""
        return {name: Setting.of(name, field) for name, field in cls.model_fields.items()}

    @model_validator(mode="before")
    @classmethod
    def _with_presets(cls, values: Any) -> Any:
        return {**cls.presets(values), **values} if isinstance(values, dict) else values

    @classmethod
    def presets(cls, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return the defaults that differ from the fields', as other arguments decide."""
        chosen = values.get(cls.preset_by)
        return cls.preset_values.get(chosen, {}) if isinstance(chosen, str) else {}

    @classmethod
    def default_text(cls, name: str) -> str:
        """Return what an argument is where it is left out, for people; empty if there is nothing to say."""
        setting = cls.settings()[name]
        usual = "" if setting.default is None else setting.as_text(setting.default)
        changed = [
            f"{by}: {setting.as_text(values[name])}" for by, values in cls.preset_values.items() if name in values
        ]
        return "; ".join([usual or "none", *changed]) if changed else usual

    def arguments(self) -> dict[str, object]:
        """Return the arguments that differ from their defaults as JSON, so that equal requests are one job."""
        defaults = {name: setting.default for name, setting in self.settings().items() if not setting.is_required}
        usual = {**defaults, **self.presets(dict(self))}
        changed = {name for name in type(self).model_fields if name not in usual or getattr(self, name) != usual[name]}
        return self.model_dump(mode="json", include=changed)

    def changed(self, **values: Any) -> Self:
        """Return the same operation with other arguments.

        Raises:
            InvalidSpecError: one is wrong or unknown.
        """
        return type(self)(**{**self.arguments(), **values})

    def into(self, spec: type[Spec], **others: Any) -> Spec:
        """Return a spec of the arguments that its fields are named after, and ``others``.

        Raises:
            InvalidSpecError: arguments do not fit each other.
        """
        names = {field.name for field in fields(spec)} & set(type(self).model_fields)  # type: ignore[arg-type]
        return spec(**{name: getattr(self, name) for name in names} | others)

    def check(self) -> None:
        """Check what is decided by several arguments together, or lies outside them.

        Raises:
            RankScopeError: arguments do not fit each other, or there is no such text, model or folder.
        """

    def memory_bytes(self) -> int | None:
        """Return what a job of it needs at its peak, as far as that can be told before; ``None``: not."""
        return None

    @abstractmethod
    def title(self, store: Store) -> str:
        """Return what a person calls the job.

        Raises:
            RankScopeError: the analysis is not in the store.
        """

    def following(self, store: Store, result: Any) -> Operation | None:  # noqa: ARG002
        """Return what is queued as a job of its own when this is done; ``None``: nothing.

        Args:
            store: holds what was made.
            result: what :meth:`run` returned.
        """
        return None

    def helpers(self) -> Sequence[Operation]:
        """Return what is queued beside it as jobs that share its work."""
        return ()

    @abstractmethod
    def run(self, home: Home, report: Report) -> object:
        """Do it, and return the value whose JSON ``docs/cli.md`` describes.

        Raises:
            RankScopeError: it says why it cannot be done.
        """


def setting(spec: type, name: str, description: str, **constraints: Any) -> Any:
    """Return a field that has the default of a spec's field.

    Args:
        spec: a dataclass.
        name: of its field.
        description: what it decides, for people.
        constraints: its range, as of :func:`pydantic.Field`.
    """
    (default,) = (field.default for field in fields(spec) if field.name == name)
    assert default is not MISSING
    return Field(default, description=description, **constraints)
