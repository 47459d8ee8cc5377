"""Rank maps that come from files or by name, checked against an analysis; free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.paths import given_path, read_small_file
from engine.rank_map.document import MAX_BYTES, RankMap, check_rank_map, parse_rank_map
from engine.rank_map.named import NamedMaps
from engine.rank_map.table import parse_rank_csv
from engine.settings import home
from engine.types import Metric

if TYPE_CHECKING:
    from engine.analysis.value import Analysis

BY_NAME = "@"
"""What stands before the name of a saved map where the path of a file could stand."""


def named_maps(analysis: Analysis) -> NamedMaps:
    """Return the named maps of an analysis' model."""
    return NamedMaps(home().maps, analysis.about["model_fingerprint"])


def rank_map_from(file_name: str, content: bytes, analysis: Analysis, metric: Metric | None = None) -> RankMap:
    """Return the rank map of a JSON or CSV file's content, checked against the analysed model.

    Args:
        file_name: a table if it ends in .csv, else JSON.
        content: of the file.
        analysis: whose model the map has to fit.
        metric: of a table that does not name one; ``None``: the analysis's default metric.

    Raises:
        InvalidRankMapError: it is no rank map, or not one for this model.
    """
    if Path(file_name).suffix.lower() == ".csv":
        table = parse_rank_csv(content, analysis.inventory)
        rank_map = RankMap(
            model_name=analysis.about["model"],
            model_fingerprint=analysis.about["model_fingerprint"],
            analysis=None,
            method="by hand",
            metric=table.metric or metric or analysis.default_metric,
            budget_params=None,
            blocks=table.blocks,
        )
    else:
        rank_map = parse_rank_map(content)
    check_rank_map(rank_map, analysis.inventory, analysis.about["model_fingerprint"])
    return rank_map


def find_rank_map(words: str, analysis: Analysis) -> RankMap:
    """Return the rank map at a path (.json or .csv), or the saved map behind ``@name``, checked against the model.

    Raises:
        NamedMapError: there is no saved map of that name.
        InvalidSpecError: there is no such file, or it cannot be read or is too large.
        InvalidRankMapError: it is not a rank map for this model.
    """
    if words.startswith(BY_NAME):
        rank_map = named_maps(analysis).find(words.removeprefix(BY_NAME)).rank_map
        check_rank_map(rank_map, analysis.inventory, analysis.about["model_fingerprint"])
        return rank_map
    return read_map_file(given_path(words), analysis)


def read_map_file(path: Path, analysis: Analysis, metric: Metric | None = None) -> RankMap:
    """Read a .json or .csv file and check it against the analysed model.

    Raises:
        InvalidSpecError: there is no such file, or it cannot be read or is too large.
        InvalidRankMapError: it is not a rank map for this model.
    """
    expected = "give the path of a .json or .csv file, or @ and the name of a saved map"
    content = read_small_file(path, "rank map", MAX_BYTES, expected)
    return rank_map_from(path.name, content, analysis, metric)
