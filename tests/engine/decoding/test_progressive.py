"""Progressive decoding on every architecture: the same tokens as static models, ranks that only fall, honest costs."""

from __future__ import annotations

import copy
import itertools
import threading

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import StoppingCriteria, StoppingCriteriaList

from engine.allocation import allocators
from engine.compression.apply import compress
from engine.decoding.generation import generate_tokens
from engine.decoding.progressive import make_progressive
from engine.decoding.progressive_layers import ProgressiveLinear
from engine.decoding.schedules import RankSchedule, allocate_stages, clip_ranks
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.formats import block_params, rank_params
from engine.specs import GenerationSpec
from engine.types import BlockRank, Format, Metric
from tests.engine.compression.test_apply import Toy
from tests.support import toys
from tests.support.examples import examples
from tests.support.strategies import toy_models
from tests.support.tiers import FEW, sweep_unless

STORAGES = (Format.LOW_RANK, Format.CAT)
PROMPTS = toys.tokens(3, 9, seed=4)
N_NEW = 12
SCHEDULE = RankSchedule.staged(0.9, 0.3, 4, 3)


def ends_off(module):
    """Let toys run on: their random weights would end a text at any token."""
    module.generation_config.eos_token_id = None
    return module


class Rig:
    """A toy with blocks at a fraction of full rank and the decoders made from them."""

    def __init__(self, name, storage=Format.LOW_RANK, metric=Metric.LOSS):
        self.toy = Toy(name, metric)
        self.storage = storage
        ends_off(self.toy.module)

    def blocks(self, fraction):
        return tuple(self.toy.blocks(self.storage, fraction))

    def progressive(self, schedule, allocate=None):
        stages = allocate_stages(schedule, allocate or self.blocks)
        return make_progressive(self.toy.module, schedule, stages, self.toy.inventory, self.toy.factors.__getitem__)

    def static(self, blocks):
        return ends_off(compress(self.toy.module, blocks, self.toy.factors.__getitem__))


def generated(decoder, prompts=PROMPTS, **settings):
    spec = GenerationSpec(N_NEW, settings.pop("temperature", 0.0), seed=settings.pop("seed", 0))
    return generate_tokens(decoder, [list(p) for p in prompts.tolist()], spec)


@pytest.fixture(params=sweep_unless(toys.ARCHITECTURES, FEW), scope="module")
def rig(request):
    return Rig(request.param)


def test_a_constant_schedule_gives_the_static_models_tokens(rig):
    constant = RankSchedule.staged(0.5, 0.5, 3, 4)
    progressive, static = rig.progressive(constant), rig.static(rig.blocks(0.5))
    assert generated(progressive) == generated(static)
    drawn = []
    for decoder in (progressive, static):
        torch.manual_seed(3)
        drawn.append(decoder.generate(PROMPTS, max_new_tokens=N_NEW, do_sample=True, temperature=0.8))
    assert torch.equal(*drawn)
    drawn = generated(progressive, temperature=0.8, seed=3)
    assert drawn == generated(static, temperature=0.8, seed=3)
    assert drawn != generated(progressive, temperature=0.8, seed=4)


def test_rows_of_a_batch_with_left_padding_equal_single_runs(rig):
    progressive = rig.progressive(SCHEDULE)
    prompts = [PROMPTS[0].tolist(), PROMPTS[1, :5].tolist(), PROMPTS[2, :7].tolist()]
    spec = GenerationSpec(N_NEW)
    together = generate_tokens(progressive, prompts, spec)
    assert together == [generate_tokens(progressive, [p], spec)[0] for p in prompts]


def test_every_token_comes_from_the_ranks_of_its_stage(rig):
    """Against a reference that swaps static models by hand and passes one cache on."""
    progressive = rig.progressive(SCHEDULE)
    models = [rig.static(blocks) for blocks in progressive.stages]
    prompt = PROMPTS[:1]
    tokens, cache, current = [], None, prompt
    with torch.no_grad():
        for index in range(N_NEW):
            out = models[SCHEDULE.stage_at(index)](input_ids=current, past_key_values=cache, use_cache=True)
            cache, current = out.past_key_values, out.logits[:, -1:].argmax(-1)
            tokens.append(current.item())
    assert generated(progressive, prompt) == [tokens]


class Watch:
    """Counts by hooks what the progressive modules of one model really multiply, token by token."""

    def __init__(self, progressive):
        self.parts = {n: m for n, m in progressive.module.named_modules() if isinstance(m, ProgressiveLinear)}
        self.ranks: list[dict[str, int | None]] = []
        self.operations: list[int] = []
        self.widths: list[int] = []
        self._counter = None
        progressive.module.register_forward_pre_hook(self._begin, with_kwargs=True)
        for name, part in self.parts.items():
            part.register_forward_pre_hook(lambda part, _, name=name: self._enter(name, part))
            part.register_forward_hook(lambda *_: self._leave())

    def _begin(self, _, args, kwargs):
        self.ranks.append({})
        self.operations.append(0)
        self.widths.append(kwargs["input_ids"].numel())

    def _enter(self, name, part):
        self.ranks[-1][name] = part.active_rank
        self._counter = FlopCounterMode(display=False)
        self._counter.__enter__()

    def _leave(self):
        self._counter.__exit__(None, None, None)
        self.operations[-1] += self._counter.get_total_flops() // 2


def used_params(rig, blocks):
    """What the factored modules cost, by the published formulas."""
    return sum(block_params(b, rig.toy.projections) for b in blocks)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", sweep_unless(["llama-gqa", "qwen2", "phi3", "gpt2", "opt"], FEW))
def test_multiply_adds_counted_by_hooks_equal_the_formula_at_every_step(name, storage):
    rig = Rig(name, storage)
    progressive = rig.progressive(SCHEDULE)
    watch = Watch(progressive)
    generated(progressive, PROMPTS[:1])
    assert watch.widths == [9] + [1] * (N_NEW - 1)
    for index, (width, operations) in enumerate(zip(watch.widths, watch.operations, strict=True)):
        blocks = progressive.stages[SCHEDULE.stage_at(index)]
        assert operations == width * used_params(rig, blocks)
        assert progressive.active_params(N_NEW)[index] == used_params(rig, blocks)
    block = progressive.stages[1][0]
    members = [rig.toy.projections[n] for n in block.members]
    shape = members[0].in_features, sum(p.out_features for p in members)
    assert block_params(block, rig.toy.projections) == rank_params(block.format, block.rank, *shape)


def test_active_ranks_never_grow_and_a_second_generation_starts_again(rig):
    progressive = rig.progressive(SCHEDULE)
    watch = Watch(progressive)
    first = generated(progressive)
    assert len(watch.ranks) == N_NEW
    for earlier, later in itertools.pairwise(watch.ranks):
        assert all(later[name] <= earlier[name] for name in earlier)
    assert watch.ranks[-1] != watch.ranks[0]
    seen = list(watch.ranks)
    assert generated(progressive) == first
    assert watch.ranks[N_NEW:] == seen
    with torch.no_grad():
        progressive.module(input_ids=PROMPTS)
    assert watch.ranks[-1] == seen[0]


def test_a_generation_that_fails_leaves_the_next_one_at_the_first_stage():
    rig = Rig("llama")
    progressive = rig.progressive(SCHEDULE)
    expected = generated(progressive)

    class Break(StoppingCriteria):
        def __call__(self, input_ids, scores, **_):
            if input_ids.shape[1] == 14:
                raise ZeroDivisionError
            return torch.zeros(len(input_ids), dtype=torch.bool)

    with pytest.raises(ZeroDivisionError):
        progressive.generate(PROMPTS, max_new_tokens=N_NEW, stopping_criteria=StoppingCriteriaList([Break()]))
    assert generated(progressive) == expected


def half_dense(rig):
    """Every second block dense until the budget falls below 0.5."""

    def allocate(fraction):
        blocks = rig.blocks(min(fraction, 0.6))
        return tuple(
            BlockRank(b.members, Format.DENSE, None) if fraction >= 0.5 and i % 2 else b for i, b in enumerate(blocks)
        )

    return allocate


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", sweep_unless(["llama-gqa", "qwen2", "gpt2", "opt", "qwen2-moe"], FEW))
def test_projections_may_be_dense_first_and_factored_later(name, storage):
    rig = Rig(name, storage)
    progressive = rig.progressive(SCHEDULE, half_dense(rig))
    models = [rig.static(blocks) for blocks in progressive.stages]
    prompt, cache, tokens = PROMPTS[:1], None, []
    with torch.no_grad():
        for index in range(N_NEW):
            out = models[SCHEDULE.stage_at(index)](input_ids=prompt, past_key_values=cache, use_cache=True)
            cache, prompt = out.past_key_values, out.logits[:, -1:].argmax(-1)
            tokens.append(prompt.item())
    assert generated(progressive, PROMPTS[:1]) == [tokens]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", ["llama-gqa", "gpt2"])
def test_resident_parameters_are_what_the_modules_hold(name, storage):
    rig = Rig(name, storage)
    for allocate in (rig.blocks, half_dense(rig)):
        progressive = rig.progressive(SCHEDULE, allocate)
        held = {p.data_ptr(): p.numel() for p in progressive.module.parameters()}
        outside = rig.toy.inventory.total_params - rig.toy.inventory.compressible_params
        assert sum(held.values()) == outside + progressive.resident_params


def test_centred_factors_keep_the_mean_output_at_every_stage():
    rig = Rig("gpt2", metric=Metric.FEATURE)
    progressive = rig.progressive(SCHEDULE)
    name = rig.toy.inventory.groups[0].members[0].name
    part, dense = (dict(m.named_modules())[name] for m in (progressive.module, rig.toy.module))
    mean = rig.toy.factors[name,].offset
    with part.stage.generation():
        for stage in range(SCHEDULE.stages):
            part.stage.advance(stage)
            torch.testing.assert_close(part(mean), dense(mean), rtol=1e-3, atol=1e-3)


def test_a_shared_intermediate_of_another_stage_is_not_used():
    rig = Rig("llama-gqa", Format.CAT)
    progressive = rig.progressive(SCHEDULE)
    members = next(b.members for b in progressive.stages[0] if len(b.members) > 1)
    x = torch.randn(2, rig.toy.projections[members[0]].in_features)
    modules = dict(progressive.module.named_modules())
    static = dict(rig.static(progressive.stages[-1]).named_modules())
    with modules[members[0]].stage.generation():
        modules[members[0]](x)
        modules[members[0]].stage.advance(SCHEDULE.stages - 1)
        torch.testing.assert_close(modules[members[1]](x), static[members[1]](x), rtol=1e-4, atol=1e-4)


def test_a_copy_of_a_generating_model_has_stages_of_its_own():
    progressive = Rig("llama").progressive(SCHEDULE)
    name = progressive.stages[0][0].members[0]
    part = dict(progressive.module.named_modules())[name]
    with part.stage.generation():
        part.stage.advance(2)
        copied = dict(copy.deepcopy(progressive.module).named_modules())[name]
        assert (part.stage.index, copied.stage.index) == (2, 0)
    assert part.stage.index == 0


def test_threads_that_generate_at_once_do_not_mix_their_steps():
    rig = Rig("llama-gqa", Format.CAT)
    progressive = rig.progressive(SCHEDULE)
    prompts = [toys.tokens(1, 5 + i, seed=i) for i in range(4)]
    expected = [generated(progressive, p) for p in prompts]
    found = [None] * len(prompts)

    def work(index):
        for _ in range(5):
            found[index] = generated(progressive, prompts[index])
            if found[index] != expected[index]:
                return

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_a_generation_inside_another_of_the_same_thread_is_refused():
    progressive = Rig("llama").progressive(SCHEDULE)

    class Nested(StoppingCriteria):
        def __call__(self, input_ids, scores, **_):
            progressive.generate(input_ids, max_new_tokens=1)

    with pytest.raises(InvalidSpecError, match="steps would mix"):
        progressive.generate(PROMPTS, max_new_tokens=2, stopping_criteria=StoppingCriteriaList([Nested()]))


def test_users_own_stopping_criteria_and_an_uncached_run_still_work():
    rig = Rig("llama")
    progressive = rig.progressive(RankSchedule.staged(0.5, 0.5, 2, 2))

    class Short(StoppingCriteria):
        def __call__(self, input_ids, scores, **_):
            return torch.full((len(input_ids),), input_ids.shape[1] >= 12)

    short = progressive.generate(PROMPTS, max_new_tokens=N_NEW, stopping_criteria=StoppingCriteriaList([Short()]))
    assert short.shape[1] == 12
    cached, plain = (
        progressive.generate(PROMPTS, max_new_tokens=6, use_cache=c, do_sample=False) for c in (True, False)
    )
    assert torch.equal(cached, plain)


def test_beams_follow_the_schedule_too():
    rig = Rig("llama")
    progressive = rig.progressive(SCHEDULE)
    watch = Watch(progressive)
    progressive.generate(PROMPTS[:1], max_new_tokens=N_NEW, num_beams=2, do_sample=False)
    name = next(iter(watch.parts))
    ranks = watch.parts[name].ranks
    assert [step[name] for step in watch.ranks] == [ranks[SCHEDULE.stage_at(i)] for i in range(len(watch.ranks))]


@pytest.mark.parametrize("storage", [Format.SKIP, Format.SKIP_CAT])
def test_skip_storage_is_refused_in_one_sentence(storage):
    rig = Rig("llama", storage)
    with pytest.raises(InvalidSpecError, match="cannot be sliced while decoding; use the format low-rank or cat"):
        rig.progressive(SCHEDULE)
    stages = [rig.blocks(f) for f in SCHEDULE.kept_fractions]
    with pytest.raises(InvalidSpecError, match="cannot be sliced"):
        make_progressive(rig.toy.module, SCHEDULE, stages, rig.toy.inventory, rig.toy.factors.__getitem__)


def test_stages_that_do_not_belong_together_are_one_sentence():
    rig, other = Rig("llama"), Rig("llama", Format.CAT)
    two = RankSchedule.staged(0.9, 0.5, 2, 2)
    with pytest.raises(InvalidSpecError, match="otherwise in another"):
        rig.progressive(two, lambda f: (rig if f == 0.9 else other).blocks(f))
    with pytest.raises(InvalidSpecError, match="2 stages, but ranks for 1"):
        make_progressive(rig.toy.module, two, [()], rig.toy.inventory, rig.toy.factors.__getitem__)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RankSchedule.staged(0.5, 0.9, 2, 2), "never grow"),
        (lambda: RankSchedule.staged(1.2, 0.9, 2, 2), "start of the schedule was given as 1.2"),
        (lambda: RankSchedule.staged(0.9, 0.0, 2, 2), "end of the schedule was given as 0.0"),
        (lambda: RankSchedule.staged(float("nan"), 0.5, 2, 2), "nan"),
        (lambda: RankSchedule.staged(0.9, 0.5, 0, 2), "at least one stage"),
        (lambda: RankSchedule.staged(0.9, 0.5, 3, 0), "at least one token"),
        (lambda: RankSchedule.staged(0.9, 0.5, 1, 5), "cannot decline"),
        (lambda: RankSchedule.linear(0.9, 0.5, 0), "at least one stage"),
    ],
)
def test_schedules_that_make_no_sense_are_one_sentence(make, words):
    with pytest.raises(InvalidSpecError, match=words):
        make()


fractions = st.floats(0.01, 1.0)


@st.composite
def schedules(draw):
    end, start = sorted([draw(fractions), draw(fractions)])
    if draw(st.booleans()):
        return RankSchedule.staged(start, end, draw(st.integers(2, 40)), draw(st.integers(1, 30)))
    return RankSchedule.linear(start, end, draw(st.integers(2, 200)))


@given(schedules())
def test_schedules_only_decline_from_start_to_end(schedule):
    stages = [schedule.stage_at(i) for i in range(schedule.length + 5)]
    assert stages[0] == 0
    assert stages[-1] == schedule.stages - 1
    assert set(stages) == set(range(schedule.stages))
    assert stages == sorted(stages)
    kept = schedule.kept_fractions
    assert kept[0] == schedule.start
    assert kept[-1] == pytest.approx(schedule.end)
    assert all(a >= b for a, b in itertools.pairwise(kept))
    counts = [stages[: schedule.length].count(s) for s in range(schedule.stages)]
    assert set(counts) == {schedule.length // schedule.stages}


@examples(200)
@given(toy_models(), st.sampled_from(STORAGES), st.data())
def test_allocated_stages_never_grow_and_keep_their_budgets(model, storage, data):
    fractions = sorted(data.draw(st.lists(st.floats(0.5, 1.0), min_size=2, max_size=2)), reverse=True)
    schedule = RankSchedule.staged(*fractions, data.draw(st.integers(2, 6)), 3)
    budgets = []

    def allocate(fraction):
        budgets.append(model.budget(int(fraction * model.total)))
        return allocators.get("flrc")(model.groups, budgets[-1], formats=frozenset({storage})).blocks

    try:
        stages = allocate_stages(schedule, allocate)
    except InfeasibleBudgetError:
        assume(False)
    ranks = [{n: float("inf") if b.rank is None else b.rank for b in s for n in b.members} for s in stages]
    assert all(set(r) == set(model.projections) for r in ranks)
    for earlier, later in itertools.pairwise(ranks):
        assert all(later[name] <= earlier[name] for name in earlier)
    for blocks, budget in zip(stages, budgets, strict=True):
        assert sum(block_params(b, model.projections) for b in blocks) <= budget.params


def test_clipping_keeps_the_smaller_rank_and_what_is_factored_stays_so():
    def low(name, rank):
        return BlockRank((name,), Format.LOW_RANK, rank)

    dense = BlockRank(("a",), Format.DENSE, None)
    assert clip_ranks((low("a", 5), low("b", 3)), (low("a", 4), low("b", 7))) == (low("a", 4), low("b", 3))
    assert clip_ranks((dense,), (low("a", 4),)) == (low("a", 4),)
    assert clip_ranks((low("a", 4),), (dense,)) == (low("a", 4),)
    cat = BlockRank(("a", "b"), Format.CAT, 6)
    both = (dense, BlockRank(("b",), Format.DENSE, None))
    assert clip_ranks(both, (cat,)) == (cat,)
    assert clip_ranks((cat,), both) == (cat,)
