"""Rank maps as tables: one line per projection, for spreadsheets; free of torch.

The columns are ``projection``, ``kind``, ``layer``, ``format``, ``rank``, ``metric`` and ``bits``; kind, layer, metric
and bits may be left out. A dense projection has no rank (an empty field or ``dense``). Where a whole input group shares
its inner factor, or an MLP has fewer neurons, each of its lines repeats the format and the rank (of an MLP: the neurons
kept).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from engine.errors import InvalidRankMapError
from engine.rank_map.document import MAX_BYTES
from engine.registry import did_you_mean, shown
from engine.types import BITS, BlockRank, Format, Metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engine.rank_map.document import RankMap
    from engine.types import Inventory, Projection

COLUMNS: Final = ("projection", "kind", "layer", "format", "rank", "metric", "bits")
_REQUIRED: Final = ("projection", "format", "rank")


@dataclass(frozen=True, slots=True)
class CsvRanks:
    """What a table decides.

    Attributes:
        blocks: one per projection or shared input group, in model order; projections without a line are in none.
        metric: what the table's column says; ``None`` if it has none.
    """

    blocks: tuple[BlockRank, ...]
    metric: Metric | None


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    format: Format
    rank: int | None
    bits: int | None


def rank_map_to_csv(rank_map: RankMap, inventory: Inventory) -> str:
    """Return a rank map that fits the model as a table of all projections, in model order."""
    decided = {name: block for block in rank_map.blocks for name in block.members}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = COLUMNS if any(block.bits for block in rank_map.blocks) else COLUMNS[:-1]
    writer.writerow(columns)
    for p in inventory.projections:
        block = decided.get(p.name, BlockRank((p.name,), Format.DENSE, None))
        rank, bits = "dense" if block.rank is None else block.rank, block.bits or ""
        row = [p.name, p.kind, p.layer, block.format, rank, rank_map.metric, bits]
        writer.writerow(row[: len(columns)])
    return text.getvalue()


def parse_rank_csv(data: bytes, inventory: Inventory) -> CsvRanks:
    """Return what a table's content decides about a model's projections.

    Raises:
        InvalidRankMapError: it is too large, no such table, or names what the model does not have; the message
            names the line.
    """
    if len(data) > MAX_BYTES:
        raise InvalidRankMapError(
            f"The table is larger than {MAX_BYTES // 10**6} MB; expected one line per projection."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRankMapError(f"The table is not UTF-8 text at byte {error.start}; save it as UTF-8.") from error
    projections = inventory.by_name
    lines: dict[str, _Line] = {}
    metrics: dict[Metric, int] = {}
    for number, row in _rows(text):
        name = _projection(number, row, projections)
        if name in lines:
            _refuse(number, f"the projection {name} again, after line {lines[name].number}", "one line per projection")
        lines[name] = _decision(number, row)
        if "metric" in row:
            metrics.setdefault(_metric(number, row["metric"]), number)
    if not lines:
        raise InvalidRankMapError(
            "The table has a header but no line below it; expected one line per projection that is not dense."
        )
    if len(metrics) > 1:
        (first, _), (second, number) = list(metrics.items())[:2]
        _refuse(number, f"the metric {second}, other lines {first}", "the same metric on every line")
    return CsvRanks(_blocks(lines, inventory), next(iter(metrics), None))


def _rows(text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the number and the fields of every line below the header that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        wrong = [n for n in header if n not in COLUMNS] + [n for n in set(header) if header.count(n) > 1]
        if wrong or not set(_REQUIRED) <= set(header):
            _refuse(
                max(reader.line_num, 1),
                f"the columns {shown(', '.join(header))}",
                f"{', '.join(_REQUIRED)} and perhaps kind, layer, metric and bits, separated by commas",
            )
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(header):
                _refuse(reader.line_num, f"{len(fields)} fields", f"{len(header)}, as many as the header")
            yield reader.line_num, dict(zip(header, (field.strip() for field in fields), strict=True))
    except csv.Error as error:
        raise InvalidRankMapError(
            f"Line {reader.line_num} of the table cannot be read ({error}); expected fields separated by commas."
        ) from error


def _projection(number: int, row: Mapping[str, str], projections: Mapping[str, Projection]) -> str:
    name = row["projection"]
    if name not in projections:
        near = did_you_mean(name, projections)
        _refuse(number, f"the projection {shown(name)}{near}", "a name that the analysis lists")
    known = projections[name]
    for column, expected in (("kind", known.kind), ("layer", str(known.layer))):
        if row.get(column, "") not in {"", expected}:
            _refuse(number, f"the {column} {shown(row[column])} for {name}", f"{expected}, or an empty field")
    return name


def _decision(number: int, row: Mapping[str, str]) -> _Line:
    storage, rank = row["format"].lower(), row["rank"].lower()
    if storage not in list(Format):
        _refuse(number, f"the format {shown(row['format'])}", f"one of {', '.join(Format)}")
    if storage == Format.DENSE:
        if rank not in {"", "dense"}:
            _refuse(number, f"the rank {shown(row['rank'])} with format dense", "an empty field or dense")
        return _Line(number, Format.DENSE, None, _bits(number, row))
    # int() also takes signs, underscores and other alphabets' digits.
    if not (rank.isascii() and rank.isdigit() and len(rank) <= 15 and int(rank) > 0):
        _refuse(number, f"the rank {shown(row['rank'])} with format {storage}", "a whole number of at least 1")
    return _Line(number, Format(storage), int(rank), _bits(number, row))


def _bits(number: int, row: Mapping[str, str]) -> int | None:
    given = row.get("bits", "")
    if given not in {"", *map(str, BITS)}:
        _refuse(number, f"the bits {shown(given)}", "16, 8, 4 or an empty field")
    return int(given) if given else None


def _metric(number: int, name: str) -> Metric:
    if name.lower() not in list(Metric):
        _refuse(number, f"the metric {shown(name)}", f"one of {', '.join(Metric)}")
    return Metric(name.lower())


def _blocks(lines: Mapping[str, _Line], inventory: Inventory) -> tuple[BlockRank, ...]:
    mlp_of = {p.name: tuple(member.name for member in mlp.members) for mlp in inventory.mlps for p in mlp.members}
    blocks: dict[tuple[str, ...], BlockRank] = {}
    for group in inventory.groups:
        names = tuple(p.name for p in group.members)
        shared = [(name, lines[name]) for name in names if name in lines and lines[name].format.is_shared]
        if shared:
            blocks[names] = _joint_block(shared[0], names, lines, "reads the same input")
            continue
        for name in (n for n in names if n in lines):
            line = lines[name]
            if line.format is Format.WIDTH:
                if name not in mlp_of:
                    _refuse(line.number, f"the format width for {name}", "a projection of an MLP, or another format")
                mlp = mlp_of[name]
                blocks[mlp] = _joint_block((name, line), mlp, lines, "belongs to the same MLP")
            else:
                blocks[(name,)] = BlockRank((name,), line.format, line.rank, line.bits)
    return tuple(blocks.values())


def _joint_block(named: tuple[str, _Line], names: tuple[str, ...], lines: Mapping[str, _Line], why: str) -> BlockRank:
    first_name, first = named
    for name in names:
        other = lines.get(name)
        if other is None:
            _refuse(
                first.number,
                f"the format {first.format} for {first_name}, but no line has {name}, which {why}",
                f"a line for each of {'+'.join(names)}",
            )
        if (other.format, other.rank, other.bits) != (first.format, first.rank, first.bits):
            _refuse(
                max(first.number, other.number),
                f"{other.format} {other.rank or 'dense'} for {name} and {first.format} {first.rank} for {first_name}",
                f"the same format, rank and bits on every line of {'+'.join(names)}",
            )
    return BlockRank(names, first.format, first.rank, first.bits)


def _refuse(number: int, given: str, expected: str) -> NoReturn:
    raise InvalidRankMapError(f"Line {number} of the table has {given}; expected {expected}.")
