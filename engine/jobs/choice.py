"""Where a job is to run and what it needs there; and, once it does, where it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine of a job with all it has to know, so that any worker can go on with the job.

    Attributes:
        name: a registered engine.
        settings: what the engine needs, such as the address of a cluster.
        resources: what the job needs while it runs, by name: ``cpu``, ``gpu``, or whatever the cluster calls it.
    """

    name: str = "local"
    settings: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether the job runs on the machine that the queue is on."""
        return self.name == "local"


LOCAL = EngineChoice()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the last attempt of a job is that runs elsewhere.

    Attributes:
        cluster: what runs it, in words.
        host: the machine; ``None`` while it waits for one.
        ahead: jobs that were submitted to the cluster before it and wait as well; ``None`` if that is not known.
        note: what the cluster says of it, one line, or nothing.
    """

    cluster: str
    host: str | None = None
    ahead: int | None = None
    note: str = ""

    def __str__(self) -> str:
        """Say it in a few words."""
        if self.host is not None:
            return f"on {self.host}, {self.cluster}"
        waits = f"waiting at {self.cluster}"
        if self.ahead is not None:
            waits += f", {self.ahead} ahead" if self.ahead else ", next in line"
        return waits + (f" ({self.note})" if self.note else "")
