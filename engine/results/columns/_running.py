"""What running a model costs: speed, multiply-adds, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.results.columns._base import Kind, Measure, Quantity, Role
from engine.results.rows import by_setting, of_setting
from engine.results.words import counted, unambiguous

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from engine.results.rows import CostResult, MemoryResult, ResultRow, SpeedResult, Spread

    Get = Callable[[SpeedResult], Spread]


def running_measures(rows: Sequence[ResultRow]) -> tuple[Measure, ...]:
    """Return the columns of every way speed and memory were measured, the newest first."""
    costs = by_setting(sorted((c for row in rows for c in row.costs), key=lambda c: c.provenance.created, reverse=True))
    memories = by_setting(
        sorted((m for row in rows for m in row.memories), key=lambda m: m.provenance.created, reverse=True)
    )
    short = [f"{cost.prompt_tokens} + {cost.new_tokens} tokens" for cost in costs]
    long = [f"{tokens}, {c.provenance.dtype}, {_where(c)}" for tokens, c in zip(short, costs, strict=True)]
    loaded = [f"{memory.n_tokens} tokens" for memory in memories]
    typed = [f"{tokens}, {m.provenance.dtype}" for tokens, m in zip(loaded, memories, strict=True)]
    return (
        *(one for cost, mark in zip(costs, _marks(short, long), strict=True) for one in _of_cost(cost, mark)),
        *(
            one
            for memory, mark in zip(memories, _marks(loaded, typed), strict=True)
            for one in _of_memory(memory, mark)
        ),
    )


def _marks(short: list[str], long: list[str]) -> list[str]:
    """Return what tells settings apart: nothing if there is one."""
    return [""] if len(short) == 1 else [f" ({name})" for name in unambiguous(short, long)]


def _of_cost(cost: CostResult, mark: str) -> list[Measure]:
    how = f"{cost.prompt_tokens} prompt and {cost.new_tokens} new tokens, {cost.provenance.dtype} on {_where(cost)}"
    over = f"medians over {cost.repetitions} runs, with quartiles"
    stages: tuple[tuple[str, str, str, Get, Get], ...] = (
        ("decode", "Speed", "Generated tokens per second", lambda s: s.decode_ratio, lambda s: s.decode),
        ("prefill", "Prompt speed", "Prompt tokens read per second", lambda s: s.prefill_ratio, lambda s: s.prefill),
    )
    found = []
    for batch_size in (speed.batch_size for speed in cost.speeds):
        batch = f"batch {batch_size}"
        for stage, title, about, get_ratio, get_speed in stages:
            role = Role.COST if stage == "decode" else Role.DETAIL
            ratio, speed = _at(cost.setting, batch_size, get_ratio), _at(cost.setting, batch_size, get_speed)
            found += [
                Measure(
                    f"{stage}_ratio[{batch}]{mark}",
                    f"{title} ÷ dense, {batch}{mark}",
                    f"{about}, over the dense model's, both in turns; {how}, {batch}; {over}.",
                    Kind.RATIO,
                    role,
                    lower_is_better=False,
                    of=ratio,
                ),
                Measure(
                    f"{stage}_tokens_per_s[{batch}]{mark}",
                    f"{'Tokens' if stage == 'decode' else 'Prompt tokens'}/s, {batch}{mark}",
                    f"{about}, all sequences together; {how}; {over}.",
                    Kind.NUMBER,
                    Role.DETAIL,
                    lower_is_better=False,
                    of=speed,
                ),
            ]
    counted = (
        ("decode_multiply_adds", "Multiply-adds per new token", "Per generated token, attention and head included"),
        ("prefill_multiply_adds", "Multiply-adds per prompt token", "Per token of the prompt, attention included"),
        ("cache_bytes_per_token", "Cache, bytes per token", "Keys and values kept for one token of one sequence"),
    )
    for name, title, about in counted:
        found.append(_counted(cost.setting, name, title, f"{about}; {how}.", mark))
    return found


def _at(setting: tuple[Hashable, ...], batch_size: int, get: Get) -> Callable[[ResultRow], Quantity | None]:
    def of(row: ResultRow) -> Quantity | None:
        cost = of_setting(row.costs, setting)
        spreads = [get(speed) for speed in (() if cost is None else cost.speeds) if speed.batch_size == batch_size]
        return next((Quantity(spread.median, spread.low, spread.high) for spread in spreads), None)

    return of


def _counted(setting: tuple[Hashable, ...], name: str, title: str, about: str, mark: str) -> Measure:
    def of(row: ResultRow) -> Quantity | None:
        cost = of_setting(row.costs, setting)
        return None if cost is None else Quantity(float(getattr(cost, name)))

    role = Role.COST if name == "decode_multiply_adds" else Role.DETAIL
    return Measure(name + mark, title + mark, about, Kind.COUNT, role, lower_is_better=True, of=of)


def _of_memory(memory: MemoryResult, mark: str) -> list[Measure]:
    def peak(row: ResultRow) -> Quantity | None:
        found = of_setting(row.memories, memory.setting)
        return None if found is None else Quantity(found.peak_bytes / 1e6)

    def base(row: ResultRow) -> Quantity | None:
        found = of_setting(row.memories, memory.setting)
        return None if found is None else Quantity(found.base_bytes / 1e6)

    how = f"{memory.n_tokens} tokens, {memory.provenance.dtype} on {memory.provenance.device}"
    return [
        Measure(
            f"peak_memory_mb{mark}",
            f"Peak memory, MB{mark}",
            f"Resident memory of a fresh process that loads the model and runs it, Python included; {how}.",
            Kind.MB,
            Role.COST,
            lower_is_better=True,
            of=peak,
        ),
        Measure(
            f"memory_without_model_mb{mark}",
            f"Memory without the model, MB{mark}",
            f"Of the same process before the model was loaded; {how}.",
            Kind.MB,
            Role.DETAIL,
            lower_is_better=True,
            of=base,
        ),
    ]


def _where(cost: CostResult) -> str:
    threads = f", {counted(cost.threads, 'thread')}" if cost.provenance.device == "cpu" else ""
    return f"{cost.provenance.device}{threads}"
