"""What tests in every folder share: the demo, fetched once for all runs, and a tokenizer of our own."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# Test processes share the cores: one arithmetic thread each, here and in the children they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import platformdirs
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from engine.settings import Home
from tests.support.warm import warm_interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from transformers import PreTrainedTokenizerFast

    from engine.model.demo import DemoAssets
    from tests.support.measured_toy import MeasuredToy

# How fast examples are made, and how many are thrown away, depends on chance and on what else the machine does.
_EITHER = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much]}
settings.register_profile("short", max_examples=30, derandomize=True, **_EITHER)
settings.register_profile("long", max_examples=500, **_EITHER)
settings.load_profile("short")  # tests.support.examples; make test-long chooses the other

LONGEST_FILES = (
    "browser/test_journey",
    "browser/test_interruptions",
    "browser/test_playground",
    "browser/test_report",
    "browser/test_rank_board",
    "browser/test_saved_maps",
    "end_to_end/test_command_line",
    "engine/jobs/test_ray",
    "end_to_end/test_chain",
    "engine/decoding/test_progressive",
    "engine/export/test_folder",
    "end_to_end/test_exporting",
    "campaign/test_slices",
    "end_to_end/test_measuring",
    "end_to_end/test_refining",
    "engine/export/test_onnx",
    "engine/playground/test_host_life",
    "engine/search/test_workers",
    "engine/search/test_search",
    "app/test_server",
    "end_to_end/test_old_home",
    "engine/operations/test_arguments",
    "app/test_views",
)
"""Files that begin first, so that no process is left alone with one of them at the end."""


_COLLECTED = pytest.StashKey[tuple[pytest.Item, ...]]()


@pytest.hookimpl(tryfirst=True)  # before those that are not wanted are left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests by file, the longest files first."""
    config.stash[_COLLECTED] = tuple(items)
    places = {f"tests/{name}.py": place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for garbage neither while tests are imported and collected, nor later in what that brought."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


TOY_LINES = (
    "The rank of a matrix is the number of its singular values that are not zero.",
    "A low-rank matrix is the product of a tall one and a wide one.",
    "Rivers run to the sea, and the sea is not full.",
)
TOY_CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}\n{% endfor %}"


@pytest.fixture(autouse=True)
def _own_main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back the main module: a page that runs in a test becomes it, and processes started later would import it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(scope="session")
def collected(pytestconfig: pytest.Config) -> tuple[pytest.Item, ...]:
    """All tests of the files of this run, also those that its marks leave out."""
    return pytestconfig.stash[_COLLECTED]


@pytest.fixture(scope="session")
def demo_home() -> Path:
    """The home tests may share; RANKSCOPE_TEST_HOME, or a folder that outlives the run."""
    chosen = os.environ.get("RANKSCOPE_TEST_HOME")
    return Path(chosen) if chosen else platformdirs.user_cache_path("rankscope-tests", appauthor=False)


@pytest.fixture(scope="session")
def demo_assets(demo_home: Path) -> DemoAssets:
    """The real demo model and texts; the first test of the first run fetches them under a lock."""
    from engine.model.demo import fetch_demo

    return fetch_demo(Home(demo_home), lambda *_: None)


@pytest.fixture(scope="session")
def warm_python() -> Iterator[Path]:
    """An interpreter that has imported torch and transformers, and nothing of ours, before it is started."""
    with warm_interpreter() as program:
        yield program


@pytest.fixture(scope="module")
def warm_starts(warm_python: Path) -> Iterator[None]:
    """Start the processes of a module's tests, and those that the product starts there, from the warm interpreter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(warm_python))
        yield


def train_toy_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer of 300 tokens with an end-of-text token and a chat template."""
    # Not above: the process that only hands out tests reads this file too.
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TOY_LINES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", chat_template=TOY_CHAT)


@pytest.fixture(scope="session")
def toy_tokenizer() -> PreTrainedTokenizerFast:
    """The toy's tokenizer; never changed."""
    return train_toy_tokenizer()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a function that fills a folder with a name once for all processes of this run; do not write to it."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        made = root / f"once-{name}"
        with FileLock(root / f"once-{name}.lock"):
            if not (made / ".whole").exists():
                made.mkdir()
                fill(made)
                (made / ".whole").touch()
        return made

    return folder


@pytest.fixture(scope="session")
def measured_toy(
    made_once: Callable[[str, Callable[[Path], object]], Path],
    toy_tokenizer: PreTrainedTokenizerFast,
    warm_python: Path,
) -> MeasuredToy:
    """A toy of which two maps were measured in every way; copy its home before changing anything."""
    from tests.support.measured_toy import measure_toy, measured_toy_in

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(warm_python))  # that its memory is right is shown elsewhere
        return measured_toy_in(made_once("measured-toy", lambda home: measure_toy(home, toy_tokenizer)))
