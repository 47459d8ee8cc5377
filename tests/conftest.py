"""What tests in every folder share: the demo, fetched once for all runs, and a tokenizer of our own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

# Test processes share the cores: one arithmetic thread each, here and in the children they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import platformdirs
import pytest
from hypothesis import HealthCheck, settings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from engine.model.demo import DemoAssets, fetch_demo
from engine.settings import Home

if TYPE_CHECKING:
    from tests.support.measured_toy import MeasuredToy

# How fast examples are made, and how many are thrown away, depends on chance and on what else the machine does.
settings.register_profile("shared-machine", suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
settings.load_profile("shared-machine")

TOY_LINES = (
    "The rank of a matrix is the number of its singular values that are not zero.",
    "A low-rank matrix is the product of a tall one and a wide one.",
    "Rivers run to the sea, and the sea is not full.",
)
TOY_CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}\n{% endfor %}"


@pytest.fixture(scope="session")
def demo_home() -> Path:
    """The home tests may share; RANKSCOPE_TEST_HOME, or a folder that outlives the run."""
    chosen = os.environ.get("RANKSCOPE_TEST_HOME")
    return Path(chosen) if chosen else platformdirs.user_cache_path("rankscope-tests", appauthor=False)


@pytest.fixture(scope="session")
def demo_assets(demo_home: Path) -> DemoAssets:
    """The real demo model and texts; the first test of the first run fetches them under a lock."""
    return fetch_demo(Home(demo_home), lambda *_: None)


@pytest.fixture(scope="session")
def toy_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of 300 tokens with an end-of-text token and a chat template; never changed."""
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
def measured_toy(tmp_path_factory: pytest.TempPathFactory, toy_tokenizer: PreTrainedTokenizerFast) -> MeasuredToy:
    """A toy of which two maps were measured in every way, once per run; copy its home before changing anything."""
    from tests.support.measured_toy import measure_toy

    return measure_toy(tmp_path_factory.mktemp("measured"), toy_tokenizer)
