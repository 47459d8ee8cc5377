"""The dashboard's end: starts the host when somebody asks, and knows what every visitor was answered; free of torch."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
import uuid
from collections import OrderedDict
from dataclasses import replace
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING, Any, Final

from engine.errors import ResourceError
from engine.playground.answers import Answer, AnswerStatus, updated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from engine.playground.questions import Question

SPARED_BYTES: Final = 512 * 2**20
_REMEMBERED: Final = 100
_WATCH_S: Final = 0.25
_RETURN_S: Final = 1.0
"""A page whose connection was lost for less than this has not been closed."""


class Playground:
    """Questions to a host process that is shared by everybody who has this object.

    The host starts with the first question, ends itself with the process that started it, and is ended after a
    while without questions to give its memory back. Questions are answered one after another. An answer whose page
    is gone is stopped.

    Args:
        home: holds the store; the host's log goes there.
        idle_s: seconds without questions after which the host is ended.
        lease_s: seconds without a look at an unfinished answer after which it is stopped, even if its page is there.
        spared_bytes: of memory that are left to others when models are loaded.
    """

    def __init__(
        self, home: Path, *, idle_s: float = 600.0, lease_s: float = 15.0, spared_bytes: int = SPARED_BYTES
    ) -> None:
        self._home = home
        self._idle_s = idle_s
        self._lease_s = lease_s
        self._spared_bytes = spared_bytes
        self._lock = RLock()
        self._closed = Event()
        self._host: subprocess.Popen[bytes] | None = None
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._asked: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._is_open: dict[str, Callable[[], bool]] = {}
        self._reasons: dict[str, str] = {}
        self._active = time.monotonic()

    def ask(self, question: Question) -> str:
        """Hand a question to the host and return the id of its answer.

        Raises:
            ResourceError: the host's log cannot be written.
        """
        answer_id = uuid.uuid4().hex
        with self._lock:
            self._active = self._asked[answer_id] = self._seen[answer_id] = time.monotonic()
            request = {"ask": question.to_json(), "id": answer_id}
            try:
                self._send(request)
            except OSError:
                self._lose(self._host)
                self._send(request)
            self._answers[answer_id] = Answer(question)
            while len(self._answers) > _REMEMBERED:
                forgotten, _ = self._answers.popitem(last=False)
                del self._asked[forgotten], self._seen[forgotten]
                self._reasons.pop(forgotten, None)
                self._is_open.pop(forgotten, None)
        return answer_id

    def answer(self, answer_id: str, is_open: Callable[[], bool] = lambda: True) -> Answer | None:
        """Return what is known of an answer, and keep it alive; ``None`` if it is not remembered.

        Args:
            answer_id: of the answer.
            is_open: whether the page that looks is still there; asked from another thread until the next look.
        """
        with self._lock:
            found = self._answers.get(answer_id)
            if found is None:
                return None
            self._seen[answer_id] = time.monotonic()
            self._is_open[answer_id] = is_open
            if found.status is not AnswerStatus.WAITING:
                return found
            unfinished = self._unfinished()
            return replace(found, ahead=unfinished.index(answer_id))

    def stop(self, answer_id: str, note: str = "") -> None:
        """End an unfinished answer: at once if nothing is written yet, else after the token under way.

        Args:
            answer_id: of the answer.
            note: why, in words.
        """
        with self._lock:
            if answer_id not in self._unfinished() or answer_id in self._reasons:
                return
            self._reasons[answer_id] = note
            with contextlib.suppress(OSError):
                self._send({"stop": answer_id})
            if self._answers[answer_id].status is not AnswerStatus.WRITING:
                self._change(answer_id, {"event": "end", "status": AnswerStatus.STOPPED, "note": note})

    def close(self) -> None:
        """End the host and every answer."""
        self._closed.set()
        with self._lock:
            for answer_id in self._unfinished():
                self._change(answer_id, {"event": "end", "status": AnswerStatus.STOPPED, "note": ""})
            self._end_host()

    def _unfinished(self) -> list[str]:
        return [answer_id for answer_id, answer in self._answers.items() if not answer.status.is_final]

    def _change(self, answer_id: str, event: Mapping[str, Any]) -> None:
        before = self._answers[answer_id]
        if event["event"] == "end" and not event["note"]:
            event = {**event, "note": self._reasons.get(answer_id, "")}
        after = updated(before, event)
        if after.waited_s is None and (after.dense.active_params or after.compressed.active_params):
            after = replace(after, waited_s=time.monotonic() - self._asked[answer_id])
        self._answers[answer_id] = after
        self._active = time.monotonic()

    def _send(self, request: Mapping[str, Any]) -> None:
        host = self._host if self._host is not None else self._start()
        assert host.stdin is not None
        host.stdin.write(json.dumps(request).encode() + b"\n")
        host.stdin.flush()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "engine.playground.host", str(self._home), str(self._spared_bytes)]
        log_path = self._home / "playground.log"
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            log_path.unlink(missing_ok=True)
            log_path.touch(0o600)
        except OSError as error:
            raise ResourceError(
                f"The playground's log {log_path} cannot be written ({error.strerror}): make room there, allow it, or "
                "move away what has that name."
            ) from error
        with log_path.open("wb") as log:
            host = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        self._host = host
        Thread(target=self._listen, args=(host,), name="playground-events", daemon=True).start()
        Thread(target=self._watch, args=(host,), name="playground-watch", daemon=True).start()
        return host

    def _listen(self, host: subprocess.Popen[bytes]) -> None:
        assert host.stdout is not None
        for line in host.stdout:
            event = json.loads(line)
            with self._lock:
                if event["id"] in self._answers:
                    self._change(event["id"], event)
        host.wait()
        with self._lock:
            self._lose(host)

    def _lose(self, host: subprocess.Popen[bytes] | None) -> None:
        """Say to everybody who waits for a host that ended that it did."""
        if host is None or host is not self._host:
            return
        self._host = None
        killed = host.wait() == -signal.SIGKILL
        why = (
            "was killed, most often because the machine ran out of memory" if killed else "crashed (see playground.log)"
        )
        note = f"The process that runs the models {why}; press Answer to start a new one."
        for answer_id in self._unfinished():
            self._change(answer_id, {"event": "end", "status": AnswerStatus.FAILED, "note": note})

    def _watch(self, host: subprocess.Popen[bytes]) -> None:
        """Stop what nobody looks at, and end a host that nobody asks."""
        while not self._closed.wait(_WATCH_S):
            with self._lock:
                if host is not self._host:
                    return
                now = time.monotonic()
                unfinished = self._unfinished()
                for answer_id in unfinished:
                    unseen_s = now - self._seen[answer_id]
                    if unseen_s > self._lease_s or (unseen_s > _RETURN_S and not self._page_is_open(answer_id)):
                        self.stop(answer_id, "Its page was closed, reloaded or left.")
                if not unfinished and now - self._active > self._idle_s:
                    self._end_host()

    def _page_is_open(self, answer_id: str) -> bool:
        is_open = self._is_open.get(answer_id)
        return is_open is None or is_open()

    def _end_host(self) -> None:
        host, self._host = self._host, None
        if host is not None and host.stdin is not None:
            # The host ends when its input does; the listening thread collects it.
            with contextlib.suppress(OSError):
                host.stdin.close()
