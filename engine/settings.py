"""Where RankScope keeps its files; the only place that reads environment variables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from engine.errors import InvalidSpecError


@dataclass(frozen=True, slots=True)
class Settings:
    """What the machine decides, apart from any analysis.

    Attributes:
        home: everything RankScope writes lies below it; also holds the job record.
        ray_address: of the Ray cluster that runs jobs; ``None`` runs them on this machine.
    """

    home: Path
    ray_address: str | None = None

    @property
    def artifacts(self) -> Path:
        """Root of the artifact store."""
        return self.home / "artifacts"

    @property
    def downloads(self) -> Path:
        """Files on their way into the store; may be deleted at any time."""
        return self.home / "downloads"

    @property
    def studies(self) -> Path:
        """Journals of searches; what they measured is in the store."""
        return self.home / "studies"

    @property
    def maps(self) -> Path:
        """Rank maps that people named, by the model they are for."""
        return self.home / "maps"

    @property
    def drafts(self) -> Path:
        """Ranks that people hold by hand while they try things out, by analysis."""
        return self.home / "drafts"

    @property
    def exports(self) -> Path:
        """Compressed models and reports people asked for."""
        return self.home / "exports"


def settings() -> Settings:
    """Read ``RANKSCOPE_HOME`` and ``RANKSCOPE_RAY_ADDRESS``; an empty variable counts as unset.

    Without ``RANKSCOPE_HOME`` the home is the platform's folder for user data.

    Raises:
        InvalidSpecError: ``RANKSCOPE_HOME`` names something that is not a folder.
    """
    chosen = os.environ.get("RANKSCOPE_HOME")
    home = Path(chosen).expanduser() if chosen else platformdirs.user_data_path("rankscope", appauthor=False)
    if home.exists() and not home.is_dir():
        raise InvalidSpecError(
            f"RANKSCOPE_HOME is {home}, which is not a folder; set it to a folder, or to a "
            "path where one can be created."
        )
    return Settings(home.absolute(), os.environ.get("RANKSCOPE_RAY_ADDRESS") or None)
