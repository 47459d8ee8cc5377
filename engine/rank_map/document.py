"""Rank maps as files: an allocation, the model it is for, and how it came about.

The published form is ``docs/schemas/rank-map.schema.json``; ``python -m engine.rank_map.document`` prints it.
Files may come from anyone, so reading is strict: one sentence says what is wrong, and where.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from engine.allocation import check_membership
from engine.errors import InvalidRankMapError
from engine.formats import allocated_params
from engine.rank_map.ceiling import ByteCeiling, Ceiling, TimeCeiling
from engine.registry import shown
from engine.types import BlockRank, Format, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.types import Inventory

SCHEMA = "rankscope/rank-map/1"
MAX_BYTES = 5_000_000
"""Largest file read; a rank map of a thousand projections is about 0.2 MB."""

Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=512)]
Count = Annotated[int, Field(ge=1, le=2**53)]
Size = Annotated[int, Field(ge=0, le=2**53)]


@dataclass(frozen=True, slots=True)
class RankMap:
    """An allocation that remembers its model and method; projections in no block stay dense.

    Attributes:
        model_name: for people.
        model_fingerprint: SHA-256 of the model's content.
        analysis: fingerprint of the analysis it was computed from; ``None`` if made by hand.
        method: preset name, or any other short description.
        metric: what the factors it selects are computed in.
        budget_params: the ceiling it was made for; ``None`` if there was none in parameters.
        blocks: the decisions.
        ceiling: the bytes or the time it was made for instead.
    """

    model_name: str
    model_fingerprint: str
    analysis: str | None
    method: str
    metric: Metric
    budget_params: int | None
    blocks: tuple[BlockRank, ...]
    ceiling: Ceiling | None = None

    @property
    def is_rounded(self) -> bool:
        """Whether a block has bits of its own below 16."""
        return any(block.is_rounded for block in self.blocks)

    def to_json(self) -> str:
        """Return the published form; equal rank maps give equal text."""
        document = {
            "schema": SCHEMA,
            "model": {"name": self.model_name, "fingerprint": self.model_fingerprint},
            "analysis": self.analysis,
            "method": self.method,
            "metric": self.metric.value,
            "budget": self._budget(),
            "blocks": [
                {"projections": list(block.members), "format": block.format.value, "rank": block.rank}
                | ({} if block.bits is None else {"bits": block.bits})
                for block in self.blocks
            ],
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def _budget(self) -> dict[str, object] | None:
        match self.ceiling:
            case ByteCeiling(n_bytes):
                return {"bytes": n_bytes}
            case TimeCeiling(step_s, device, dtype, batch, context):
                used = {"device": device, "dtype": dtype, "batch": batch, "context": context}
                return {"seconds_per_token": step_s, **used}
        return None if self.budget_params is None else {"params": self.budget_params}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Entry(_Strict):
    projections: Annotated[list[Name], Field(min_length=1, json_schema_extra={"uniqueItems": True})]
    bits: Annotated[
        Literal[16, 8, 4] | None, Field(description="Bits of the block's weights; without: those of the whole model.")
    ] = None


class DenseEntry(_Entry):
    """Projections that stay as they are."""

    format: Literal["dense"]
    rank: None


class FactoredEntry(_Entry):
    """One projection, or in a shared format one whole input group, kept at a rank."""

    format: Literal["low-rank", "cat", "skip", "skip+cat"]
    rank: Count


class WidthEntry(_Entry):
    """All projections of one MLP (up, or gate and up, then down); the rank is the number of neurons kept."""

    format: Literal["width"]
    rank: Count


class ModelEntry(_Strict):
    """The model the ranks are for."""

    name: Name
    fingerprint: Fingerprint


class BudgetEntry(_Strict):
    """The parameters the ranks were chosen for."""

    params: Size


class ByteBudgetEntry(_Strict):
    """The bytes of the whole model that ranks and bits were chosen for."""

    bytes: Size


class TimeBudgetEntry(_Strict):
    """The predicted time of a token that the ranks were chosen for."""

    seconds_per_token: Annotated[float, Field(gt=0, le=1e9, description="In which every sequence gets a token.")]
    device: Annotated[Name, Field(description="That the time was predicted for.")]
    dtype: Annotated[Name, Field(description="Number type of the weights.")]
    batch: Annotated[Count, Field(description="Sequences at once.")]
    context: Annotated[Size, Field(description="Tokens of each in the cache.")]


def _kind_of_budget(given: object) -> str:
    keys = given if isinstance(given, dict) else {}
    return "bytes" if "bytes" in keys else "time" if "seconds_per_token" in keys else "params"


AnyBudget = Annotated[
    Annotated[BudgetEntry, Tag("params")]
    | Annotated[ByteBudgetEntry, Tag("bytes")]
    | Annotated[TimeBudgetEntry, Tag("time")],
    Discriminator(_kind_of_budget),
]


class Document(_Strict):
    """A rank for every block of a language model; projections not mentioned stay dense."""

    schema_: Annotated[Literal["rankscope/rank-map/1"], Field(alias="schema")]
    model: ModelEntry
    analysis: Fingerprint | None
    method: Name
    metric: Metric
    budget: AnyBudget | None
    blocks: list[Annotated[DenseEntry | FactoredEntry | WidthEntry, Field(discriminator="format")]]


def parse_rank_map(data: bytes) -> RankMap:
    """Return the rank map that a file's content describes.

    Raises:
        InvalidRankMapError: it is too large, not JSON, or not in the published form.
    """
    if len(data) > MAX_BYTES:
        raise InvalidRankMapError(
            f"The rank map is larger than {MAX_BYTES // 10**6} MB; expected a file written by RankScope."
        )
    try:
        json.loads(data.decode("utf-8"), object_pairs_hook=_reject_repeated_keys, parse_constant=_reject_constant)
    except UnicodeDecodeError as error:
        raise InvalidRankMapError(f"The rank map is not UTF-8 text at byte {error.start}; save it as UTF-8.") from error
    except RecursionError as error:
        raise InvalidRankMapError("The rank map is nested too deeply; expected at most 4 levels.") from error
    except ValueError as error:
        raise InvalidRankMapError(
            f"The rank map is not JSON ({error}); expected a file written by RankScope."
        ) from error
    try:
        document = Document.model_validate_json(data)
    except ValidationError as error:
        raise InvalidRankMapError(_sentence(error)) from error
    blocks = tuple(BlockRank(tuple(b.projections), Format(b.format), b.rank, b.bits) for b in document.blocks)
    _reject_repeated_projections(blocks)
    return RankMap(
        model_name=document.model.name,
        model_fingerprint=document.model.fingerprint,
        analysis=document.analysis,
        method=document.method,
        metric=document.metric,
        budget_params=document.budget.params if isinstance(document.budget, BudgetEntry) else None,
        blocks=blocks,
        ceiling=_ceiling_of(document.budget),
    )


def _ceiling_of(budget: BudgetEntry | ByteBudgetEntry | TimeBudgetEntry | None) -> Ceiling | None:
    match budget:
        case ByteBudgetEntry():
            return ByteCeiling(budget.bytes)
        case TimeBudgetEntry():
            return TimeCeiling(budget.seconds_per_token, budget.device, budget.dtype, budget.batch, budget.context)
    return None


def check_rank_map(rank_map: RankMap, inventory: Inventory, model_fingerprint: str | None) -> int:
    """Check that a rank map fits a model and its own budget; return the parameters it keeps.

    Args:
        rank_map: from a file or an allocation.
        inventory: what the model has.
        model_fingerprint: of the model; ``None`` to accept a map made for another one of the same shape.

    Raises:
        InvalidRankMapError: it does not; the message names the first block that is wrong.
    """
    if model_fingerprint is not None and rank_map.model_fingerprint != model_fingerprint:
        raise InvalidRankMapError(
            f"The rank map is for the model {shown(rank_map.model_name)} "
            f"({rank_map.model_fingerprint[:12]}), but this one is {model_fingerprint[:12]}; open "
            "that model or allocate again."
        )
    groups, mlps = ([tuple(p.name for p in one.members) for one in each] for each in (inventory.groups, inventory.mlps))
    check_membership(rank_map.blocks, groups, mlps)
    projections = inventory.by_name
    for block in rank_map.blocks:
        members = [projections[name] for name in block.members]
        if members[0].experts is not None and block.format.skips:
            raise InvalidRankMapError(
                f"{block.name} was given format {block.format}, but is a stack of {members[0].matrices} experts, which "
                "skips no columns; use low-rank or dense."
            )
        is_width = block.format is Format.WIDTH
        highest = (
            members[-1].in_features if is_width else min(members[0].in_features, sum(p.out_features for p in members))
        )
        if block.rank is not None and not 1 <= block.rank <= highest:
            given, of = ("width", "number of neurons") if is_width else ("rank", "rank")
            raise InvalidRankMapError(
                f"{block.name} was given {given} {block.rank}; expected a {of} from 1 to {highest}, or dense."
            )
    params = allocated_params(rank_map.blocks, inventory)
    if rank_map.budget_params is not None and params > rank_map.budget_params:
        raise InvalidRankMapError(
            f"The rank map keeps {params:,} parameters, but its budget is {rank_map.budget_params:,}; lower "
            "some ranks or raise the budget."
        )
    return params


def rank_map_schema() -> str:
    """Return the published JSON schema of rank maps."""
    schema = Document.model_json_schema()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "RankScope rank map",
    }
    return json.dumps({**schema, **head}, indent=2, sort_keys=True) + "\n"


def _sentence(error: ValidationError) -> str:
    """Say what is wrong first; untrusted keys in the place are quoted and cut."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = first["loc"]
    if where[:1] == ("budget",):  # pydantic names the kind of budget after it, which no file has
        where = (*where[:1], *where[2:])
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in where]
    place = shown("".join(parts).lstrip(".")) if parts else "its top"
    reason = first["msg"][:1].lower() + first["msg"][1:]
    return (
        f"The rank map is wrong at {place}: {shown(reason)[1:-1]}; "
        "docs/schemas/rank-map.schema.json describes the form."
    )


def _reject_repeated_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise InvalidRankMapError(f"The rank map has the key {shown(key)} twice in one object; keep one of them.")
        result[key] = value
    return result


def _reject_constant(constant: str) -> NoReturn:
    raise InvalidRankMapError(f"The rank map has the number {constant}; ranks and budgets are whole numbers.")


def _reject_repeated_projections(blocks: Sequence[BlockRank]) -> None:
    seen: set[str] = set()
    for name in (name for block in blocks for name in block.members):
        if name in seen:
            raise InvalidRankMapError(f"The projection {shown(name)} is in the rank map twice; keep one of them.")
        seen.add(name)


if __name__ == "__main__":
    sys.stdout.write(rank_map_schema())
