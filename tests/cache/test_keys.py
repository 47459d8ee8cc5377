"""Keys become paths, so that nothing may pass that could point anywhere else."""

import string
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cache import DirectoryStore, InvalidKeyError, Key, StoreError
from tests.support.examples import examples

FINGERPRINT = "0123456789abcdef" * 4

attempts = st.one_of(
    st.text(max_size=70),
    st.text("./\\~%\0\n :ab-", max_size=12),
    st.text(string.hexdigits + "٣０/.\n", min_size=62, max_size=66),
    st.from_regex(r"[a-z][a-z0-9-]*"),
    st.from_regex(r"[0-9a-f]{64}"),
)


def is_stage(text: str) -> bool:
    alphabet = set(string.ascii_lowercase + string.digits + "-")
    return 0 < len(text) <= 64 and text[0] in string.ascii_lowercase and set(text) <= alphabet


@given(attempts)
@examples(600)
@example("spectrum\n")
@example("..")
@example(".partial")
@example("/etc")
@example("a/../../b")
@example("C:")
@example("\uff41")  # a full-width letter
def test_only_kebab_case_is_a_stage(text):
    if is_stage(text):
        assert Key(text, FINGERPRINT).stage == text
    else:
        with pytest.raises(InvalidKeyError, match="expected a lowercase letter"):
            Key(text, FINGERPRINT)
        with pytest.raises(StoreError):
            DirectoryStore(Path("nowhere")).keys(text)


@given(attempts)
@examples(600)
@example(FINGERPRINT + "\n")
@example(FINGERPRINT.upper())
@example("../" + FINGERPRINT[3:])
@example("٣" * 64)
def test_only_64_lowercase_hexadecimal_digits_are_a_fingerprint(text):
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        assert Key("spectrum", text).fingerprint == text
    else:
        with pytest.raises(InvalidKeyError, match="expected 64 lowercase hexadecimal digits"):
            Key("spectrum", text)


@given(st.from_regex(r"[a-z][a-z0-9-]{0,63}", fullmatch=True), st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
def test_every_key_names_a_folder_two_levels_below_the_root(stage, digits):
    key = Key(stage, digits)
    assert str(key) == f"{stage}/{digits}"
    assert (Path("/root") / str(key)).resolve().parent.parent == Path("/root")


@pytest.mark.parametrize("wrong", [None, 1, b"spectrum", Path("spectrum"), ["spectrum"]])
def test_only_text_is_a_key(wrong):
    with pytest.raises(InvalidKeyError):
        Key(wrong, FINGERPRINT)
    with pytest.raises(InvalidKeyError):
        Key("spectrum", wrong)


def test_a_key_cannot_be_changed_afterwards():
    key = Key("spectrum", FINGERPRINT)
    with pytest.raises(AttributeError):
        key.stage = "../spectrum"
    assert {key: 1}[Key("spectrum", FINGERPRINT)] == 1
