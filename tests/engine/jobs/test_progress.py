import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.jobs import Progress, ProgressReporter
from engine.jobs.files import LOG_BYTES, JobFolder
from engine.jobs.progress import MAX_FILE_BYTES, TAIL_BYTES, read_history, read_last, read_tail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "progress.jsonl"


def test_reports_are_held_back_but_stage_changes_and_the_last_one_are_not(path: Path) -> None:
    with ProgressReporter(path) as report:
        for i in range(1000):
            report("a", i / 2000, f"a {i}")
        report("b", 0.5, "b begins")
        assert [p.message for p in read_history(path)][-2:] == ["a 999", "b begins"]
        report("b", 1.0, "b ends")
    messages = [progress.message for progress in read_history(path)]
    assert messages[0] == "a 0"
    assert messages[-1] == "b ends"
    assert len(messages) < 50


def test_fractions_are_bounded_unknown_or_an_error(path: Path) -> None:
    with ProgressReporter(path) as report:
        report("a", None, "unknown")
        report("b", 1.0 + 1e-9, "rounded")
        with pytest.raises(ValueError, match="between 0 and 1"):
            report("c", math.nan, "nonsense")
    assert [progress.fraction for progress in read_history(path)] == [None, 1.0]


def test_a_job_never_goes_backwards(path: Path) -> None:
    with ProgressReporter(path) as report:
        for stage, fraction in (("a", None), ("b", 0.4), ("c", 0.04), ("d", None), ("e", 0.5)):
            report(stage, fraction, "step")
    assert [progress.fraction for progress in read_history(path)] == [None, 0.4, 0.4, 0.4, 0.5]


def test_a_half_written_last_line_is_ignored(path: Path) -> None:
    with ProgressReporter(path) as report:
        report("a", 0.1, "whole")
    line = path.read_bytes()
    for cut in range(len(line)):
        path.write_bytes(line + line[:cut])
        assert [progress.message for progress in read_history(path)] == ["whole"]
        last = read_last(path)
        assert last is not None
        assert last.message == "whole"


def test_a_corrupted_file_gives_what_can_be_read(path: Path) -> None:
    good = b'{"stage": "a", "fraction": 0.25, "message": "good"}\n'
    bad = [b"\0" * 100, b"{}", b"[1]", b"null", b'"x"', b"\xff\xfe", b'{"colour": 1}']
    bad += [
        b'{"stage": "a", "fraction": 7, "message": ""}',
        b'{"stage": "a", "fraction": "half", "message": ""}',
    ]
    path.write_bytes(good + b"\n".join(bad) + b"\n")
    assert read_history(path) == [Progress("a", 0.25, "good")]
    assert read_last(path) == Progress("a", 0.25, "good")
    path.write_bytes(b"\n".join(bad))
    assert read_last(path) is None
    assert read_last(path.with_name("missing")) is None


def test_the_last_line_of_a_huge_file_is_read_without_the_rest(path: Path) -> None:
    last = json.dumps({"stage": "z", "fraction": 1, "message": "last"}).encode() + b"\n"
    with path.open("wb") as file:
        file.truncate(2**40)  # a sparse terabyte: reading it whole would not end
        file.seek(0, 2)
        file.write(b"\n" + last)
    assert read_last(path) == Progress("z", 1.0, "last")
    assert len(read_tail(path, TAIL_BYTES)) <= TAIL_BYTES + 1


@given(
    lines=st.lists(st.binary(max_size=8).map(lambda b: b.replace(b"\n", b"")), max_size=8),
    n=st.integers(1, 80),
)
def test_a_tail_is_whole_lines(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], n: int) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    text = b"".join(line + b"\n" for line in lines)
    path.write_bytes(text)
    tail = read_tail(path, n)
    assert text.endswith(tail)
    assert len(tail) <= n
    starts_a_line = len(tail) == len(text) or text[: len(text) - len(tail)].endswith(b"\n")
    assert starts_a_line
    whole = [b"".join(line + b"\n" for line in lines[i:]) for i in range(len(lines) + 1)]
    assert tail == max((t for t in whole if len(t) <= n), key=len), "the longest that fits"


def test_a_file_that_grew_long_is_cut_to_the_last_reports(path: Path) -> None:
    with ProgressReporter(path) as report:
        for i in range(3000):
            report(f"stage {i}", 0.5, "m" * 1000)
            assert path.stat().st_size <= MAX_FILE_BYTES + 2000
            if i % 100 == 0:
                assert read_last(path).stage == f"stage {i}"
    stages = [progress.stage for progress in read_history(path)]
    assert stages[-1] == "stage 2999"
    assert len(stages) > 50
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_a_log_that_grew_long_is_cut_while_its_process_writes(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    with folder.log.open("ab", buffering=0) as log:
        for i in range(10 * LOG_BYTES // 1000):
            log.write(b"x" * 990 + f"{i:9}\n".encode())
            folder.shorten_log()
        assert LOG_BYTES < folder.log_size() < 9 * LOG_BYTES
        log.write(b"the end\n")
    assert folder.read_log(2).split()[-3:] == [f"{10 * LOG_BYTES // 1000 - 1}", "the", "end"]
    assert b"\0" not in folder.log.read_bytes()


def test_the_log_shows_what_a_bar_showed_last(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    assert folder.read_log(5) == ""
    folder.log.write_bytes(b"one\n 10%\r 50%\r100%\nwindows\r\n\xff\nlast without end")
    assert folder.read_log(4) == "100%\nwindows\n\N{REPLACEMENT CHARACTER}\nlast without end"
    assert folder.read_log(1) == "last without end"
