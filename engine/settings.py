"""Where RankScope keeps its files; the only place that reads environment variables."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import platformdirs

from cache import DirectoryStore
from engine.errors import InvalidSpecError
from engine.paths import usable_path

_SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Home:
    """The folder that holds everything RankScope writes, and the store in it.

    Attributes:
        root: the folder; the job record lies directly in it.
    """

    root: Path

    @cached_property
    def store(self) -> DirectoryStore:
        """Every artifact."""
        return DirectoryStore(self.artifacts)

    @property
    def artifacts(self) -> Path:
        """Root of the store."""
        return self.root / "artifacts"

    @property
    def downloads(self) -> Path:
        """Files on their way into the store; may be deleted at any time."""
        return self.root / "downloads"

    @property
    def studies(self) -> Path:
        """Journals of searches; what they measured is in the store."""
        return self.root / "studies"

    @property
    def maps(self) -> Path:
        """Saved maps, by the model they are for."""
        return self.root / "maps"

    @property
    def drafts(self) -> Path:
        """Held ranks of people who are trying things out, by analysis."""
        return self.root / "drafts"

    @property
    def notes(self) -> Path:
        """Names and notes of measured maps, by the model they are of."""
        return self.root / "notes"

    @property
    def places(self) -> Path:
        """Where analysed models were seen last, by their fingerprints."""
        return self.root / "places"

    @property
    def exports(self) -> Path:
        """Compressed models and reports people asked for."""
        return self.root / "exports"

    @property
    def uploads(self) -> Path:
        """Texts people sent from the dashboard, by the hash of their content."""
        return self.root / "uploads"


def home() -> Home:
    """Return the home that ``RANKSCOPE_HOME`` names, by default the platform's folder for user data.

    An empty variable counts as unset.

    Raises:
        InvalidSpecError: ``RANKSCOPE_HOME`` names something that is not a folder.
    """
    chosen = os.environ.get("RANKSCOPE_HOME")
    usual = platformdirs.user_data_path("rankscope", appauthor=False)
    root = usable_path(chosen, "RANKSCOPE_HOME") if chosen else usual
    if root.exists() and not root.is_dir():
        raise InvalidSpecError(
            f"RANKSCOPE_HOME is {root}, which is not a folder; set it to a folder, or to a "
            "path where one can be created."
        )
    return Home(root.absolute())


def visitors_token() -> str | None:
    """Return the token that ``RANKSCOPE_TOKEN`` asks of the dashboard's visitors; ``None`` if it is not set.

    Raises:
        InvalidSpecError: it could be guessed.
    """
    token = os.environ.get("RANKSCOPE_TOKEN") or None
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise InvalidSpecError(
            f"RANKSCOPE_TOKEN has {len(token)} characters; expected at least {_SHORTEST_TOKEN}, such as those that "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'` prints."
        )
    return token


@dataclass(frozen=True)
class JobSettings:
    """Where jobs run, and what the engines of jobs have to know.

    Attributes:
        engine: that jobs run on unless they say otherwise.
        resources: that jobs ask for unless they say otherwise, such as ``gpu=1,cpu=8``.
        ray_address: of the dashboard of a Ray cluster.
        ray_patience_s: how long a cluster may not answer before its jobs count as interrupted.
        command: a template that runs ``{command}`` on a machine of a cluster and waits for it.
        command_cancel: a template that ends what the command started; may be empty.
        command_status: a template whose first line of output says how it is; may be empty.
        python: the interpreter on the machines of a cluster.
    """

    engine: str
    resources: str
    ray_address: str
    ray_patience_s: float
    command: str
    command_cancel: str
    command_status: str
    python: str


def job_settings() -> JobSettings:
    """Return what the environment says of where jobs run; an empty variable counts as unset.

    Raises:
        InvalidSpecError: ``RANKSCOPE_RAY_PATIENCE_S`` is not a number of seconds.
    """
    patience = os.environ.get("RANKSCOPE_RAY_PATIENCE_S") or "90"
    try:
        patience_s = float(patience)
    except ValueError:
        patience_s = -1.0
    if not 0 <= patience_s < math.inf:
        raise InvalidSpecError(f"RANKSCOPE_RAY_PATIENCE_S is {patience!r}; expected a number of seconds, such as 90.")
    return JobSettings(
        engine=os.environ.get("RANKSCOPE_ENGINE") or "local",
        resources=os.environ.get("RANKSCOPE_RESOURCES", ""),
        ray_address=os.environ.get("RANKSCOPE_RAY_ADDRESS", ""),
        ray_patience_s=patience_s,
        command=os.environ.get("RANKSCOPE_COMMAND", ""),
        command_cancel=os.environ.get("RANKSCOPE_COMMAND_CANCEL", ""),
        command_status=os.environ.get("RANKSCOPE_COMMAND_STATUS", ""),
        python=os.environ.get("RANKSCOPE_CLUSTER_PYTHON") or sys.executable,
    )
