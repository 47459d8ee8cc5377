"""Rank maps under a name: unique names, several processes, crashes, damage."""

from __future__ import annotations

import json
import multiprocessing
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from filelock import FileLock
from hypothesis import example, given
from hypothesis import strategies as st

from engine.errors import InvalidRankMapError, NamedMapError
from engine.rank_map import named as named_maps
from engine.rank_map.drafts import MAX_DRAFTS, Draft, Drafts, MapRequest
from engine.rank_map.named import DamagedMap, NamedMap, NamedMaps, checked_name
from engine.types import BlockRank, Format
from tests.engine.rank_map.test_document import MODEL, OUT, Q, rank_map
from tests.support.examples import examples

FIRST = rank_map(BlockRank((Q.name,), Format.SKIP, 3))
SECOND = rank_map(BlockRank((OUT.name,), Format.LOW_RANK, 2))


@pytest.fixture
def maps(tmp_path):
    return NamedMaps(tmp_path / "maps", MODEL)


def names(maps):
    return [m.name for m in maps.all()]


def test_a_map_is_saved_listed_renamed_duplicated_and_deleted(maps):
    assert maps.all() == []
    saved = maps.save("  Half, by hand ", FIRST)
    assert saved.name == "Half, by hand"
    assert saved.rank_map == FIRST
    assert maps.all() == [saved]
    assert maps.read(saved.id) == maps.find("HALF, by hand") == maps.find(saved.id) == saved
    copy = maps.duplicate(saved.id)
    assert (copy.name, copy.rank_map) == ("Half, by hand 2", FIRST)
    assert maps.duplicate(copy.id).name == "Half, by hand 3"
    renamed = maps.rename(saved.id, "another")
    assert renamed == replace(saved, name="another")
    assert names(maps) == ["another", "Half, by hand 2", "Half, by hand 3"]
    maps.delete(saved.id)
    assert names(maps) == ["Half, by hand 2", "Half, by hand 3"]
    for again in (maps.read, maps.delete):
        with pytest.raises(NamedMapError, match="There is no saved map with the id"):
            again(saved.id)


def test_maps_of_models_do_not_mix(maps, tmp_path):
    maps.save("mine", FIRST)
    other = NamedMaps(tmp_path / "maps", "cd" * 32)
    assert other.all() == []
    for save in (other.save, other.save_as_new):
        with pytest.raises(InvalidRankMapError, match=r"is for the model 'toy' .abababababab., but it was to be saved"):
            save("mine", FIRST)


@pytest.mark.parametrize("second", ["Straße", "STRASSE", "straße ", "Strasse"])
def test_names_are_unique_whatever_their_case(maps, second):
    first = maps.save("straße", FIRST)
    with pytest.raises(NamedMapError, match="There is a saved map 'straße' already"):
        maps.save(second, SECOND)
    other = maps.save("other", SECOND)
    with pytest.raises(NamedMapError, match="already"):
        maps.rename(other.id, second)
    with pytest.raises(NamedMapError, match="already"):
        maps.duplicate(other.id, second)
    assert maps.rename(first.id, second).name == second.strip()
    replaced = maps.save("STRASSE", SECOND, overwrite=True)
    assert (replaced.id, replaced.created, replaced.rank_map) == (first.id, first.created, SECOND)
    assert len(maps.all()) == 2


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "The name is empty; expected 1 to 80 characters"),
        (" \t ", "The name is empty"),
        ("x" * 81, "The name has 81 characters"),
        ("a\nb", "holds the control character U+000A"),
        ("a\x00b", "holds the control character U+0000"),
        ("a\u202eb", "holds the control character U+202E"),
        ("a\u2028b", "holds the control character U+2028"),
        ("a\ud800b", "holds the control character U+D800"),
    ],
)
def test_names_that_cannot_be_used_are_refused_with_a_sentence(maps, name, sentence):
    with pytest.raises(NamedMapError, match=re.escape(sentence)) as error:
        maps.save(name, FIRST)
    assert "\n" not in str(error.value)
    assert maps.all() == []


@examples(60)
@given(name=st.text(min_size=1, max_size=80))
@example(name="0 ")
@example(name="0\r")
def test_any_visible_text_is_a_name_and_never_a_path(tmp_path_factory, name):
    maps = NamedMaps(tmp_path_factory.mktemp("any") / "maps", MODEL)
    try:
        expected = checked_name(name)
    except NamedMapError:
        return
    saved = maps.save(name, FIRST)
    assert maps.find(name) == saved
    assert saved.name == expected
    assert re.fullmatch(r"[0-9a-f]{16}", saved.id)


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "CON", "a/b", "..", "👩‍👩‍👧", "می‌خواهم", "@x", "é" * 80])
def test_awkward_names_stay_inside_the_folder(maps, tmp_path, name):
    maps.save(name, FIRST)
    assert names(maps) == [name]
    files = [p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"]
    assert len(files) == 1
    assert re.fullmatch(rf"maps/{MODEL}/[0-9a-f]{{16}}\.json", str(files[0]))


@pytest.mark.parametrize("map_id", ["../x", "", "a", "0" * 15, "G" * 16, "0" * 16 + "\n", "/" + "0" * 15])
def test_ids_from_a_link_cannot_leave_the_folder(maps, map_id):
    assert map_id not in maps
    for use in (maps.read, maps.delete, maps.duplicate, lambda i: maps.rename(i, "x")):
        with pytest.raises(NamedMapError, match="no id of a saved map"):
            use(map_id)


def test_an_unknown_name_is_answered_with_the_nearest(maps):
    with pytest.raises(NamedMapError, match="saved maps are: none yet"):
        maps.find("final")
    maps.save("final one", FIRST)
    with pytest.raises(NamedMapError, match=r"no saved map 'final on' .* .did you mean 'final one'"):
        maps.find("final on")


def damaged_variants(content: bytes):
    document = json.loads(content)
    yield b""
    yield content[: len(content) // 2]
    yield b"[]"
    yield b"{}"
    yield b"[" * 100_000
    yield content.replace(b'"rank":3', b'"rank":4')
    yield json.dumps(document | {"name": "forged"}).encode()
    yield json.dumps({k: v for k, v in document.items() if k != "sha256"}).encode()


def test_a_damaged_file_is_one_sentence_and_hides_no_other(maps, tmp_path):
    whole, broken = maps.save("whole", FIRST), maps.save("broken", FIRST)
    path = tmp_path / "maps" / MODEL / f"{broken.id}.json"
    content = path.read_bytes()
    for variant in damaged_variants(content):
        path.write_bytes(variant)
        found = maps.all()
        assert found[0] == whole
        assert isinstance(found[1], DamagedMap)
        assert (found[1].id, "\n" in found[1].error) == (broken.id, False)
        assert f"the saved map {broken.id} is damaged" in found[1].error
        with pytest.raises(NamedMapError, match="is damaged"):
            maps.read(broken.id)
    path.write_bytes(content)
    other = path.with_name(f"{'0' * 16}.json")
    path.rename(other)  # under another id it is not what was written
    assert isinstance(maps.all()[1], DamagedMap)
    maps.delete("0" * 16)
    assert maps.all() == [whole]


def test_every_flipped_bit_is_noticed(maps, tmp_path):
    saved = maps.save("one", FIRST)
    path = tmp_path / "maps" / MODEL / f"{saved.id}.json"
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])
        with pytest.raises(NamedMapError, match="is damaged"):
            maps.read(saved.id)


def test_what_a_killed_writer_left_is_never_read_and_goes_with_the_next_writer(maps, tmp_path):
    saved = maps.save("one", FIRST)
    left = tmp_path / "maps" / MODEL / f"{saved.id}.json.0123.partial"
    left.write_bytes(b"{")
    assert maps.all() == [saved]
    maps.save("two", FIRST)
    assert not left.exists()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "maps").write_text("a file where the folder should be")
    with pytest.raises(NamedMapError, match=r"cannot be written .* check its permissions"):
        NamedMaps(tmp_path / "maps", MODEL).save("one", FIRST)


def test_a_writer_that_never_ends_is_a_sentence(maps, tmp_path, monkeypatch):
    maps.save("one", FIRST)
    monkeypatch.setattr(named_maps, "_LOCK_S", 0.1)
    with FileLock(tmp_path / "maps" / MODEL / ".lock"), pytest.raises(NamedMapError, match="Another process"):
        maps.save("two", FIRST)
    assert names(maps) == ["one"]


def _save_many(root, label):
    maps = NamedMaps(root, MODEL)
    for _ in range(15):
        maps.save_as_new("shared", FIRST)
    for i in range(5):
        maps.save(f"{label} {i}", SECOND)


def test_two_processes_lose_nothing_and_never_share_a_name(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_save_many, args=(tmp_path / "maps", label)) for label in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    found = NamedMaps(tmp_path / "maps", MODEL).all()
    assert all(isinstance(m, NamedMap) for m in found)
    expected = ["shared", *(f"shared {i}" for i in range(2, 31)), *(f"{w} {i}" for w in "ab" for i in range(5))]
    assert sorted(m.name for m in found) == sorted(expected)


KILLED = """
import sys
from pathlib import Path
from engine.rank_map.named import NamedMaps
from tests.engine.rank_map.test_named import FIRST, MODEL, SECOND
maps = NamedMaps(Path(sys.argv[1]), MODEL)
print("ready", flush=True)
while True:
    maps.save("kept", FIRST, overwrite=True)
    maps.save("kept", SECOND, overwrite=True)
"""


def test_a_killed_writer_leaves_the_old_or_the_new_map(tmp_path):
    maps = NamedMaps(tmp_path / "maps", MODEL)
    maps.save("kept", FIRST)
    for wait_s in (0.0, 0.013, 0.05):
        writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "maps")], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(wait_s)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        (found,) = maps.all()
        assert isinstance(found, NamedMap)
        assert found.rank_map in (FIRST, SECOND)
    maps.save("next", FIRST)
    assert sorted(p.suffix for p in (tmp_path / "maps" / MODEL).iterdir() if p.name != ".lock") == [".json"] * 2


def test_held_ranks_are_recalled_by_what_they_are(tmp_path):
    drafts = Drafts(tmp_path / "drafts", "ab" * 32)
    draft = drafts.keep(Draft({Q.name: 3, OUT.name: 5}))
    assert drafts.keep(Draft({OUT.name: 5, Q.name: 3})) == draft
    assert drafts.keep(Draft({Q.name: 4})) != draft
    assert drafts.recall(draft, {Q.name, OUT.name}) == Draft({Q.name: 3, OUT.name: 5})
    assert drafts.recall(draft, {Q.name}) == Draft({Q.name: 3})
    for unknown in ("0" * 16, "../" + draft, ""):
        assert drafts.recall(unknown, {Q.name}) is None
    assert Drafts(tmp_path / "drafts", "cd" * 32).recall(draft, {Q.name}) is None
    path = tmp_path / "drafts" / ("ab" * 32) / f"{draft}.json"
    path.write_bytes(path.read_bytes()[:-3])
    assert drafts.recall(draft, {Q.name}) is None


def test_drafts_do_not_grow_without_end(tmp_path):
    drafts = Drafts(tmp_path / "drafts", "ab" * 32)
    made = [drafts.keep(Draft({Q.name: rank})) for rank in range(1, MAX_DRAFTS + 20)]
    assert len(list((tmp_path / "drafts" / ("ab" * 32)).iterdir())) == MAX_DRAFTS
    assert drafts.recall(made[-1], {Q.name}) == Draft({Q.name: MAX_DRAFTS + 19})


def test_a_draft_without_rebalancing_keeps_what_its_maps_were_made_for(tmp_path):
    drafts = Drafts(tmp_path / "drafts", "ab" * 32)
    made = Draft({Q.name: 3}, MapRequest(0.8, None, ((OUT.name, 5),)))
    draft = drafts.keep(made)
    assert draft != drafts.keep(Draft({Q.name: 3}))
    assert drafts.recall(draft, {Q.name, OUT.name}) == made
    assert drafts.recall(draft, {Q.name}) == Draft({Q.name: 3}, MapRequest(0.8, None, ()))
    untouched = Draft({}, MapRequest(0.5, 25.5, ()))
    assert drafts.recall(drafts.keep(untouched), {Q.name}) == untouched
