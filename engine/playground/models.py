"""What the host keeps open: one dense model, and the last few compressed variants that share its weights."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cache import Key
from engine.pipeline.generate import GenerationSession
from engine.pipeline.reading.analyses import load_analysis
from engine.playground.questions import MapChoice
from engine.rank_map.document import parse_rank_map

if TYPE_CHECKING:
    from engine.pipeline.generate import Variant
    from engine.playground.questions import ProgressiveChoice
    from engine.progress import Report
    from engine.settings import Home

KEPT_VARIANTS: Final = 3


class Models:
    """Opens sessions and variants, and remembers the last ones.

    Args:
        home: holds the analyses.
        spared_bytes: of memory that are left to others whenever something is loaded.
    """

    def __init__(self, home: Home, spared_bytes: int) -> None:
        self._home = home
        self._spared_bytes = spared_bytes
        self._session: GenerationSession | None = None
        self._variants: OrderedDict[MapChoice | ProgressiveChoice, Variant] = OrderedDict()

    def session(self, analysis_id: str, report: Report) -> GenerationSession:
        """Return the session of an analysis; its model is opened once, whatever analyses of it follow.

        Raises:
            RankScopeError: it cannot be opened, or does not fit the memory.
        """
        known = self._session
        if known is not None and known.analysis.id == analysis_id:
            return known
        self._variants.clear()
        self._session = None
        opened = None
        if known is not None:
            analysis = load_analysis(self._home.store, analysis_id)
            if analysis.about["model_fingerprint"] == known.analysis.about["model_fingerprint"]:
                opened = known.opened.of(analysis)
        # A model that is not used again has to be gone before the next one is opened.
        del known
        self._session = GenerationSession(
            self._home, analysis_id, report, spared_bytes=self._spared_bytes, opened=opened
        )
        return self._session

    def variant(self, session: GenerationSession, choice: MapChoice | ProgressiveChoice, report: Report) -> Variant:
        """Return a compressed variant of a session.

        Raises:
            RankScopeError: it cannot be made, or does not fit the memory.
        """
        if choice in self._variants:
            self._variants.move_to_end(choice)
            return self._variants[choice]
        while len(self._variants) >= KEPT_VARIANTS:
            self._variants.popitem(last=False)
        report("compression", 0.0, "Compressing the model")
        if isinstance(choice, MapChoice):
            refinement = None if choice.refinement is None else Key("refinement", choice.refinement)
            variant = session.compressed(parse_rank_map(choice.rank_map.encode()), refinement)
        else:
            variant = session.progressive(choice.schedule, choice.method)
        self._variants[choice] = variant
        return variant
