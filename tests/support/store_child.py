"""What the processes do that the tests watch, race and kill; it imports little, so that they start fast."""

import os
import random
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from cache import Artifact, DirectoryStore, Key, MissingArtifactError, fingerprint, write_arrays, write_json


def write_artifact(store: DirectoryStore, stage: str, number: int, writer: str) -> Key:
    key = Key(stage, fingerprint(stage, number, schema_version=1))
    with store.writing(key, {"number": number, "writer": writer}) as folder:
        write_arrays(folder / "arrays.safetensors", {"numbers": np.arange(number, number + 20_000)})
        (folder / "empty").touch()
        write_json(folder / "text.json", {"number": number, "writer": writer})
    return key


def check_artifact(artifact: Artifact) -> None:
    """Check an artifact against what :func:`write_artifact` puts in."""
    artifact.verify()
    number = artifact.manifest.about["number"]
    assert list(artifact.manifest.members) == ["arrays.safetensors", "empty", "text.json"]
    assert artifact.json("text.json") == artifact.manifest.about
    assert np.array_equal(artifact.arrays("arrays.safetensors")["numbers"], np.arange(number, number + 20_000))


def write_and_delete_forever(pipe: Connection, root: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = DirectoryStore(root)
    write_artifact(store, "kept", 0, str(seed))
    pipe.send("ready")
    while True:
        key = write_artifact(store, chance.choice(["one", "two"]), chance.randrange(8), str(seed))
        if chance.random() < 0.5:
            try:
                store.delete(key)
            except MissingArtifactError:
                continue  # the other process was first


def write_when_told(pipe: Connection, root: Path, writer: str) -> None:
    pipe.send("ready")
    pipe.recv()
    write_artifact(DirectoryStore(root), "one", 1, writer)


def hold_open(pipe: Connection, root: Path) -> None:
    with DirectoryStore(root).writing(Key("one", "0" * 64), {}) as folder:
        (folder / "member").write_bytes(b"held")
        pipe.send("ready")
        pipe.recv()


def die_at(pipe: Connection, root: Path, step: int) -> None:
    """Kill this process just before its ``step``-th change that the disk or another process can see."""
    steps = iter(range(step))

    def counted(call):
        def wrapper(*arguments, **options):
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return wrapper

    pipe.send("ready")
    for name in ("fsync", "rename", "mkdir", "rmdir", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    store = DirectoryStore(root)
    write_artifact(store, "one", 1, "first")
    store.delete(write_artifact(store, "two", 2, "second"))
