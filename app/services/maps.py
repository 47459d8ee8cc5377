"""Saved maps and held ranks, as views may ask for them; arguments are ids, names and files.

What is cached is decided by a file's version as well as by ids, so that another tab's change is seen at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.costed_maps import SAVED, CostedMap
from app.services import analyses
from engine.methods import cost
from engine.methods.editing import holdable
from engine.rank_map import identity
from engine.rank_map.document import check_rank_map
from engine.rank_map.drafts import Drafts
from engine.rank_map.files import named_maps, rank_map_from
from engine.rank_map.named import DamagedMap, NamedMap, NamedMaps
from engine.settings import home

if TYPE_CHECKING:
    from engine.rank_map.document import RankMap
    from engine.rank_map.drafts import Draft

Version = tuple[int, int] | None


def all_saved(analysis_id: str) -> list[NamedMap | DamagedMap]:
    """Return the saved maps of an analysis' model, by name; damaged ones last."""
    maps = _maps(analysis_id)
    return _all(analysis_id, tuple((map_id, maps.version(map_id)) for map_id in maps.ids()))


@st.cache_data(max_entries=16, show_spinner=False)
def _all(analysis_id: str, versions: tuple[tuple[str, Version], ...]) -> list[NamedMap | DamagedMap]:  # noqa: ARG001
    return _maps(analysis_id).all()


def is_saved(analysis_id: str, map_id: str) -> bool:
    """Whether the analysis' model has a saved map of that id, damaged or not."""
    return map_id in _maps(analysis_id)


def saved_map(analysis_id: str, map_id: str) -> CostedMap:
    """Return a saved map with what it costs.

    Raises:
        RankScopeError: there is none, it is damaged, or the analysis lacks its metric.
    """
    return _costed_map(analysis_id, map_id, _maps(analysis_id).version(map_id))


@st.cache_data(max_entries=64, show_spinner=False)
def _costed_map(analysis_id: str, map_id: str, version: Version) -> CostedMap:  # noqa: ARG001 - part of the cache's key
    analysed = analyses.analysis(analysis_id)
    rank_map = _maps(analysis_id).read(map_id).rank_map
    check_rank_map(rank_map, analysed.inventory, analysed.about["model_fingerprint"])
    return CostedMap(SAVED, rank_map, cost.cost_of(analysed, rank_map))


def save_map(analysis_id: str, name: str, rank_map: RankMap) -> NamedMap:
    """Keep a rank map under a name.

    Raises:
        NamedMapError: the name cannot be used or is taken, or the folder cannot be written.
    """
    return _maps(analysis_id).save(name, rank_map)


def saved_for(analysis_id: str, rank_map: RankMap, name: str) -> str:
    """Return the id of a saved map that decides what a map does; it is saved under the name if there is none.

    Raises:
        NamedMapError: the folder cannot be written.
    """
    own = identity.map_id(rank_map)
    fitting = (m for m in all_saved(analysis_id) if isinstance(m, NamedMap) and identity.map_id(m.rank_map) == own)
    found = next(fitting, None)
    return _maps(analysis_id).save_as_new(name, rank_map).id if found is None else found.id


def import_map(analysis_id: str, file_name: str, content: bytes) -> NamedMap:
    """Check a JSON or CSV file against the analysed model and keep it under the file's name.

    Raises:
        RankScopeError: it is no rank map or not one for this model, the analysis lacks its metric, or the folder
            cannot be written.
    """
    analysed = analyses.analysis(analysis_id)
    rank_map = rank_map_from(file_name, content, analysed)
    analysed.require_factors(rank_map.metric)
    return _maps(analysis_id).save_as_new(_name_of(file_name), rank_map)


def rename_map(analysis_id: str, map_id: str, name: str) -> NamedMap:
    """Give a saved map another name.

    Raises:
        NamedMapError: it is gone, or the name cannot be used or is taken.
    """
    return _maps(analysis_id).rename(map_id, name)


def duplicate_map(analysis_id: str, map_id: str) -> NamedMap:
    """Keep a second map of the same content.

    Raises:
        NamedMapError: it is gone or damaged.
    """
    return _maps(analysis_id).duplicate(map_id)


def delete_map(analysis_id: str, map_id: str) -> None:
    """Remove a saved map.

    Raises:
        NamedMapError: it is gone already.
    """
    _maps(analysis_id).delete(map_id)


def keep_draft(analysis_id: str, draft: Draft) -> str:
    """Keep what was changed by hand and return the id it can be recalled by.

    Raises:
        NamedMapError: the folder cannot be written.
    """
    return _drafts(analysis_id).keep(draft)


def recall_draft(analysis_id: str, draft_id: str) -> Draft | None:
    """Return what was changed by hand; ``None`` if it is no longer there."""
    return _drafts(analysis_id).recall(draft_id, holdable(analyses.analysis(analysis_id)))


def _name_of(file_name: str) -> str:
    """Return what a file is called without its ending, as far as that can be a name."""
    stem = file_name.rsplit("/", 1)[-1].rsplit("\\", 1)[-1].rsplit(".", 1)[0]
    visible = "".join(c for c in stem if c.isprintable()).strip()
    return visible[:80] or "imported map"


def _maps(analysis_id: str) -> NamedMaps:
    return named_maps(analyses.analysis(analysis_id))


def _drafts(analysis_id: str) -> Drafts:
    return Drafts(home().drafts, analysis_id)
