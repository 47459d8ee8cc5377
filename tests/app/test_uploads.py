"""Uploaded texts are kept by their content, whoever uploads them and when."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from app.services import texts


def test_two_sessions_may_upload_the_same_file_at_the_same_moment(home: Path) -> None:
    sessions, uploads = 4, 50
    barrier = Barrier(sessions)

    def upload(_: int) -> list[str]:
        found = []
        for number in range(uploads):
            barrier.wait()
            found.append(texts.store_upload("same.txt", f"text {number}".encode()))
        return found

    with ThreadPoolExecutor(sessions) as threads:
        paths, *others = threads.map(upload, range(sessions))
    assert all(other == paths for other in others)
    assert [Path(path).read_text() for path in paths] == [f"text {number}" for number in range(uploads)]
    assert {path.name for path in (home / "uploads").rglob("*") if path.is_file()} == {"same.txt"}
    assert Path(paths[0]).stat().st_mode & 0o077 == 0
