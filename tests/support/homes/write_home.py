"""Wrote ``0.1.0.tar.xz`` and ``0.1.0.jsonl``: a home with one of everything, and what every command answered in it.

It ran once, on commit cc65a3a, and its imports are that commit's. What stands in the archive was made by the product
itself; only the demo's two artifacts are made up, so that ``demo`` is a model of three layers and nothing in the home
depends on where it lies. Answers say ``{home}`` for where it lay. To see what it did::

    git worktree add ../old cc65a3a
    cp tests/support/homes/write_home.py ../old && cd ../old
    RANKSCOPE_HOME=$PWD/home HF_HUB_OFFLINE=1 PYTHONPATH=. python write_home.py
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import torch
from engine.demo import MODEL_WHEEL, TEXTS_WHEEL
from engine.pipeline.drafts import Drafts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import engine.jobs.queue
from app.services import store_upload
from cache import DirectoryStore
from engine.cli import app
from engine.jobs import JobQueue
from engine.jobs.processes import ProcessId
from engine.jobs.record import JobRecord
from engine.jobs.run import run
from engine.settings import settings

HERE, HOME = Path(__file__).absolute().parent, settings().home
STORE = DirectoryStore(HOME / "artifacts")
LINES = (
    "The river rose in the night and the bridge was closed until the morning.",
    "A matrix of low rank can be written as the product of two thin ones.",
    "Nobody in the village had seen so much snow in April before.",
    "The committee will publish its report on the budget next week.",
)
CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}\n{% endfor %}"
TEXT = ("--n-sequences", "3", "--length", "32")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of few tokens: a dense model's predictions are stored for every one of them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=96, special_tokens=["<eos>"], show_progress=False)
    tokenizer.train_from_iterator((*LINES, "0123456789 Part Passage Question Answer: <user> <assistant>?"), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", chat_template=CHAT)


def write_demo() -> None:
    """Store a tiny model and a few texts under the keys of the demo."""
    passages = [f"Passage {i}. " + " ".join(LINES[(i + j) % 4] for j in range(3)) for i in range(50)]
    items = [
        {"question": line[:16], "options": "A. the sea\nB. a wide matrix", "answer": f"{letter}. "}
        for line, letter in zip(LINES * 2, "AABABBAB", strict=True)
    ]
    pairs = [{"document": f"Part {i}. {' '.join(LINES)}", "summary": LINES[i % 4]} for i in range(8)]
    texts = {
        "wikipedia.jsonl": [{"passage": passage} for passage in passages],
        "piqa.jsonl": items,
        "openbookqa.jsonl": items,
        "xsum.jsonl": pairs,
    }
    with STORE.writing(TEXTS_WHEEL.key("demo-texts"), {"from": "write_home.py"}) as into:
        for name, rows in texts.items():
            (into / name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(4.0)
    with STORE.writing(MODEL_WHEEL.key("demo-model"), {"from": "write_home.py"}) as into:
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)


def work_here(*_: object) -> None:
    """Run what is queued in this process, which has loaded torch already."""
    record = JobRecord(HOME)
    while unfinished := record.unfinished():
        log = record.folder(unfinished[0].id).log
        with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file):
            run(HOME, unfinished[0].id, "engine.operations:run")


def rankscope(*words: str) -> object:
    """Run a command and return its JSON."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        app([*words, "--json"], standalone_mode=False)
    print("rankscope", *words, f"({len(shown.getvalue())} characters)", file=sys.stderr)
    return json.loads(shown.getvalue())


def commands(analysis: str) -> list[tuple[str, ...]]:
    """Return what is asked twice: first to compute it, then to record the answer when all is there."""
    a, tasks = analysis[:12], ("--tasks", "demo_piqa,demo_openbookqa", "--limit", "6", "--repetitions", "2")
    articles = ("--articles", "3", "--article-length", "40", "--max-new-tokens", "4", "--template", "{article} Part:")
    return [
        ("evaluate", a, "@by water", *TEXT),
        ("evaluate", a, "@by table", "@by water", *TEXT),
        ("evaluate", a, "@by water", "--n-sequences", "2", "--length", "32"),
        ("evaluate", a, "@by water", *TEXT, "--text", "demo:news"),
        ("evaluate", a, "@by table", *TEXT, "--text", "demo:news"),
        ("evaluate", a, "@by water", "--level", "quick", *tasks, *articles, *TEXT),
        ("evaluate", a, "@by table", "--level", "full", *tasks, *articles, *TEXT),
        ("sensitivity", a, "--measure", "--n-sequences", "2", "--length", "32"),
        ("search", a, "--trials", "4", "--rank-step", "2", "--n-subset", "2", "--n-allocations", "2", *SEARCHED),
        ("compare", a, "--methods", "svd-llm,water-filling,bolaco", "--keep", "0.8,0.6", *TEXT, *OTHER),
        ("refine", a, "@by water", "--epochs", "1", *TEXT),
        ("refine", a, "@by water", "--train", "--epochs", "1", *TEXT),
        ("post-train", a, "@by water", "--max-steps", "3", *TEXT),
        # The text with the most measured maps is also the one measured last, so that any rule predicts on it.
        ("evaluate", a, "@skipping", *TEXT),
        *(("allocate", a, "--method", m, "--keep", k) for m in METHODS for k in ("0.8", "0.55")),
        ("allocate", a, "--method", "bolaco", "--keep", "0.8"),
        ("allocate", a, "--method", "water-filling", "--mb", "0.05"),
        ("allocate", a, "--method", "svd-llm", "--perplexity-ratio", "1.2"),
        ("allocate", a, "--method", "flrc", "--keep", "0.6", "--importance", "fisher", "--gamma", "0.5"),
        *(("spectra", a, "--metric", metric) for metric in ("weight", "loss")),
        ("sensitivity", a),
        ("report", a, "@by water", "report.html"),
        ("report", a, "@by table", "report.html"),
        ("maps", "list", a),
        ("cache", "verify"),
    ]


SEARCHED = ("--n-sequences", "4", "--length", "32")
OTHER = ("--other-text", "demo:news", "--other-n-sequences", "2", "--search-trials", "3")
METHODS = ("svd-llm", "flrc", "skipcat", "water-filling")
ANALYSES = (
    ("analyse", "demo", "--n-sequences", "8", "--length", "32", "--metrics", "input,loss,feature"),
    ("analyse", "demo", "--n-sequences", "8", "--length", "32", "--around-keep", "0.8"),
)


def main() -> None:
    """Write the home, then what its commands answer, then the archive."""
    shutil.rmtree(HOME, ignore_errors=True)
    engine.jobs.queue.start_detached = work_here
    write_demo()
    analysis, around = (rankscope(*words)["analysis"] for words in ANALYSES)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        rankscope("allocate", analysis, "--method", "water-filling", "--keep", "0.8", "--out", "made.json")
        rankscope("maps", "save", analysis, "made.json", "by water")
        rankscope("allocate", analysis, "--method", "flrc", "--keep", "0.6", "--out", "made.json")
        rankscope("maps", "save", analysis, "made.json", "half <b>&")
        rankscope("maps", "export", analysis, "half <b>&", "by table.csv")
        rankscope("maps", "import", analysis, "by table.csv")
        rankscope("allocate", analysis, "--method", "skipcat", "--keep", "0.7", "--out", "made.json")
        rankscope("maps", "save", analysis, "made.json", "skipping")
        rankscope("allocate", around, "--method", "water-filling", "--keep", "0.7", "--out", "made.json")
        rankscope("maps", "save", around, "made.json", "around")
        rankscope("evaluate", around, "@around", *TEXT)
        asked = commands(analysis)
        for words in asked:
            rankscope(*words)
        rankscope("export", analysis, "@by water", str(HOME / "exports" / "small"))
        rankscope("report", analysis, "@by water", str(HOME / "exports" / "report.html"))
        held = {"model.layers.0.self_attn.q_proj": 5, "model.layers.1.mlp.up_proj": 7}
        draft = Drafts(HOME / "drafts", analysis).keep(held)
        store_upload("Notes of mine.txt", "\n\n".join(LINES).encode())
        there = STORE.keys()
        answers = [{"words": words, "answer": rankscope(*words)} for words in (*ANALYSES, *asked)]
        assert STORE.keys() == there, "something was computed twice"
        write_unfinished_jobs(analysis, Path("made.json").read_text(encoding="utf-8"))
        answers.append({"words": ["jobs"], "answer": rankscope("jobs")})
    known = {"analysis": analysis, "around": around, "draft": draft, "held": held}
    lines = [json.dumps(line, ensure_ascii=False) for line in (known, *answers)]
    answered = ("\n".join(lines) + "\n").replace(str(HOME), "{home}")
    (HERE / "0.1.0.jsonl").write_text(answered, encoding="utf-8")
    pack()


def write_unfinished_jobs(analysis: str, rank_map: str) -> None:
    """Leave one job in every state that is not done."""
    queue, record = JobQueue(HOME), JobRecord(HOME)
    queue.submit("evaluate", {"analysis": analysis, "rank_maps": ["{"]}, title="Measure what is no map")
    engine.jobs.queue.start_detached = lambda *_: None
    queue.cancel(queue.submit("search", {"analysis": analysis, "trials": 5}, title="Search maps").id)
    few = {"analysis": analysis, "n_sequences": 2, "length": 32}
    interrupted = queue.submit("sensitivity", {**few, "kept_fraction": 0.4}, title="Measure the sensitivity")
    record.claim(interrupted.id, ProcessId(4_000_000, 1.0))
    queue.submit("evaluate", {**few, "rank_maps": [rank_map]}, title="Measure one map")


def pack() -> None:
    """Write the archive, without what a running product leaves for itself."""
    for path in (*HOME.rglob("*.lock"), *HOME.glob("*.log")):
        path.unlink()
    for name in ("downloads", "artifacts/.partial"):
        shutil.rmtree(HOME / name, ignore_errors=True)

    def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(HERE / "0.1.0.tar.xz", "w:xz", preset=9) as archive:
        archive.add(HOME, "home", filter=anonymous)


if __name__ == "__main__":
    main()
