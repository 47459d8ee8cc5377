"""What is said of kinds and projections: which can be compressed, and which cost most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.wording.compressible import compressible_in_words, costly_in_words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

KINDS = ["q", "k", "up", "down"] * 3
LAYERS = [0] * 4 + [1] * 4 + [2] * 4
BLOCKS = [f"L{layer} {kind}" for layer in range(3) for kind in KINDS[:4]]


def test_kinds_at_both_ends_and_what_is_far_below_its_kind_are_named() -> None:
    shares = [0.20, 0.22, 0.50, 0.70, 0.21, 0.22, 0.50, 0.02, 0.08, 0.24, 0.50, 0.72]
    assert compressible_in_words("effective rank", KINDS, BLOCKS, shares) == (
        "**Most compressible: q and k**, whose effective rank is 20 % to 22 % of full rank (median over the layers). "
        "Least: down, 70 %. Far below the rest of their kind: L1 down (2.0 %), L2 q (8.0 %)."
    )


def test_a_model_of_one_kind_and_equal_kinds_have_no_other_end() -> None:
    assert "Least" not in compressible_in_words("stable rank", ["fc"], ["L0 fc"], [0.5])
    assert "q, k, up and down**, whose stable rank is 50 % of" in compressible_in_words(
        "stable rank", KINDS, BLOCKS, [0.5] * 12
    )


def test_costs_are_compared_for_what_a_cut_frees() -> None:
    nats = [0.1, 0.2, 0.3, 2.0, 0.1, 0.2, 0.3, 1.0, 0.1, 0.2, 0.3, 1.0]
    assert costly_in_words(KINDS, LAYERS, BLOCKS, nats, [1.0, 1.0, 2.0, 2.0] * 3) == (
        "**Cheapest to cut: q and up**, 0.1 to 0.15 nats per MB freed. Dearest: down, 0.67. Of all nats, "
        "layer 0 has most (44.8 %), layer 1 least (27.6 %); of single projections L0 down (34.5 %), L2 down (17.2 %), "
        "L1 down (17.2 %), L2 up (5.2 %)."
    )
    assert costly_in_words(KINDS, LAYERS, BLOCKS, nats, [0.0] * 12) == "Nothing is freed by this cut."
    assert costly_in_words(["fc"], [0], ["L0 fc"], [-0.1], [1.0]) == "**Cheapest to cut: fc**, -0.1 nats per MB freed."


def test_both_pages_say_it(open_page: Callable[..., AppTest], analysed_home: Path) -> None:
    page = open_page("spectra", summary="Rank at energy", energy="90")
    (said,) = (m.value for m in page.markdown if m.value.startswith("**Most compressible"))
    assert "whose rank at 90.0 % energy is" in said
    page = open_page("sensitivity")
    (said,) = (m.value for m in page.markdown if m.value.startswith("**Cheapest to cut"))
    assert "(Measured, each cut alone to 50.0 %; Spectra tells how low ranks are, not what a cut costs.)" in said
