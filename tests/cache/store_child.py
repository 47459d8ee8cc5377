"""A process that uses a store and is watched, raced or killed by the tests; it imports nothing but cache.

Usage: store_child.py MODE ROOT ARGUMENT; it says "ready" once it has started.
"""

import os
import random
import signal
import sys
from pathlib import Path

import numpy as np

from cache import DirectoryStore, Key, StoreError, fingerprint, write_arrays, write_json

MEMBERS = ["arrays.safetensors", "empty", "text.json"]


def write_artifact(store: DirectoryStore, stage: str, number: int, writer: str) -> Key:
    key = Key(stage, fingerprint(stage, number, schema_version=1))
    with store.writing(key, {"number": number, "writer": writer}) as folder:
        write_arrays(folder / "arrays.safetensors", {"numbers": np.arange(number, number + 20_000)})
        (folder / "empty").touch()
        write_json(folder / "text.json", {"number": number, "writer": writer})
    return key


def write_and_delete_forever(store: DirectoryStore, seed: int) -> None:
    chance = random.Random(seed)
    while True:
        key = write_artifact(store, chance.choice(["one", "two"]), chance.randrange(8), str(seed))
        if chance.random() < 0.5:
            try:
                store.delete(key)
            except StoreError:
                continue  # the other process was first


def die_at(store: DirectoryStore, step: int) -> None:
    """Kill this process just before its ``step``-th change that the disk or another process can see."""
    steps = iter(range(step))

    def counted(call):
        def wrapper(*arguments, **options):
            if next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return wrapper

    for name in ("fsync", "rename", "mkdir", "rmdir", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    write_artifact(store, "one", 1, "first")
    store.delete(write_artifact(store, "two", 2, "second"))


def main() -> None:
    mode, root, argument = sys.argv[1:]
    store = DirectoryStore(Path(root))
    print("ready", flush=True)
    match mode:
        case "loop":
            write_and_delete_forever(store, int(argument))
        case "race":
            sys.stdin.readline()
            write_artifact(store, "one", 1, argument)
        case "hold":
            with store.writing(Key("one", "0" * 64), {}) as folder:
                (folder / "member").write_bytes(b"held")
                print("holding", flush=True)
                sys.stdin.readline()
        case "die-at":
            die_at(store, int(argument))


if __name__ == "__main__":
    main()
