"""``python -m engine.playground.host HOME SPARED_BYTES``: the process that holds the models of the playground.

It reads one JSON value a line from its standard input, ``{"ask": QUESTION, "id": ID}`` or ``{"stop": ID}``, and
writes events, each with the id of what it belongs to. Questions are answered one after another. When the input
ends, because whoever started it closed it or died, the process ends at once, whatever it is doing.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.playground.writing import Writer

Send = Callable[[Mapping[str, Any]], None]


def read_requests(lines: Iterable[bytes], questions: SimpleQueue[Mapping[str, Any]], stopped: set[str]) -> None:
    """Take requests until there are no more, then end the process."""
    try:
        for line in lines:
            request = json.loads(line)
            if "stop" in request:
                stopped.add(request["stop"])
            else:
                questions.put(request)
    finally:
        # The main thread may be in the middle of a long computation, which nothing else would end.
        os._exit(0)


def answer(request: Mapping[str, Any], writer: Writer, send: Send) -> None:
    """Answer one question; whatever goes wrong becomes a sentence."""
    from cache import StoreError
    from engine.errors import RankScopeError
    from engine.machine import is_disk_full
    from engine.playground.questions import Question

    def tell(event: str, **values: object) -> None:
        send({"id": request["id"], "event": event, **values})

    try:
        ended = writer.write(request["id"], Question.from_json(request["ask"]), tell)
    except (RankScopeError, StoreError) as error:
        tell("end", status="failed", note=" ".join(str(error).split()))
    except MemoryError:
        tell("end", status="failed", note="The models do not fit the memory: close other programs, then ask again.")
    except Exception as error:  # noqa: BLE001 - the boundary: every failure reaches its visitor, its traceback the log
        traceback.print_exc()
        if is_disk_full(error):
            tell("end", status="failed", note=f"The disk is full ({error}): free some space, then ask again.")
            return
        reason = f"Unexpected {type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}."
        tell("end", status="failed", note=f"{reason} This is a bug in RankScope; playground.log has the details.")
    else:
        tell("end", status=ended, note="")


def main(home: Path, spared_bytes: int) -> None:
    """Answer questions until the input ends."""
    # What libraries print goes to the log, not between the events.
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    questions: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
    stopped: set[str] = set()
    Thread(target=read_requests, args=(sys.stdin.buffer, questions, stopped), name="requests", daemon=True).start()

    def send(event: Mapping[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")

    from engine.playground.models import Models
    from engine.playground.writing import Writer
    from engine.settings import Home

    writer = Writer(Models(Home(home), spared_bytes), stopped)
    while True:
        answer(questions.get(), writer, send)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
