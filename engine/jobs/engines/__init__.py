"""Where jobs run: an engine for each way, by the name that people choose it by."""

import math
from typing import Final

from engine.jobs.choice import EngineChoice
from engine.jobs.engines._base import Attempt, JobEngine
from engine.jobs.engines.command import CommandEngine
from engine.jobs.engines.local import LocalEngine
from engine.jobs.engines.ray import RayEngine
from engine.jobs.job import JobError
from engine.registry import Registry
from engine.settings import JobSettings

__all__ = ["Attempt", "JobEngine", "choose", "describe", "engines"]

engines: Final[Registry[type[JobEngine]]] = Registry("job engine")
engines.register("local")(LocalEngine)
engines.register("ray")(RayEngine)
engines.register("command")(CommandEngine)


def choose(given: JobSettings, name: str | None = None, resources: str | None = None) -> EngineChoice:
    """Return the engine that a job is to run on.

    Args:
        given: the settings of this installation.
        name: of the engine; by default the one that is set.
        resources: such as ``gpu=1,cpu=8``; by default those that are set.

    Raises:
        RankScopeError: there is no such engine, it is not set up, or resources cannot be read.
    """
    chosen = name or given.engine
    wanted = _amounts(given.resources if resources is None else resources)
    return EngineChoice(chosen, engines.get(chosen).settings_of(given, wanted), wanted)


def describe(choice: EngineChoice) -> str:
    """Name what runs the jobs of an engine in a few words."""
    return engines.get(choice.name).describe(choice)


def _amounts(text: str) -> dict[str, float]:
    amounts = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, amount = part.partition("=")
        try:
            amounts[name.strip()] = float(amount)
        except ValueError:
            amounts[name.strip()] = math.nan
        if not (name.strip().isidentifier() and 0 <= amounts[name.strip()] < math.inf):
            raise JobError(f"The resources {text!r} cannot be read at {part!r}; give them as gpu=1,cpu=8.")
    return amounts
