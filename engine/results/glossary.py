"""The words of the product, its formats and its methods, explained once for pages and reports; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Term:
    """A word and what it means here, in one or two sentences."""

    word: str
    meaning: str


TERMS: Final = (
    Term(
        "Compression",
        "A large weight matrix is replaced by a product of two thin ones, which have fewer parameters. Their inner "
        "width is the rank. Or an MLP keeps fewer neurons, and all its matrices become smaller.",
    ),
    Term(
        "Rank map",
        "The rank that each weight matrix keeps, or the number of neurons an MLP keeps. The methods differ in how they "
        "choose it.",
    ),
    Term(
        "Neurons and width",
        "The entries of the vector between the first matrices of an MLP (gate and up) and its last (down); their "
        "number is its width. A dropped neuron takes a row of the first and a column of the last matrix with it, and "
        "down is corrected so that the kept neurons stand in for it.",
    ),
    Term(
        "Kept fraction",
        "What remains of the parameters that can be compressed: the matrices of the layers. Embeddings, head and norms "
        "are never compressed and not counted; the size in MB counts everything.",
    ),
    Term(
        "Perplexity",
        "Roughly the number of next words the model finds equally likely, on a text it has not seen. 2 \u00d7 means "
        "twice that of the dense model. Lower is better.",
    ),
    Term("Dense", "The original, uncompressed model."),
    Term(
        "Predicted",
        "Computed from the analysis of the dense model and calibrated on measurements of other compressed models, "
        "without running this one. The interval beside it is meant to hold nine measurements in ten; on the two models "
        "where that was tried it held 87 to 100 %. Of analyses of earlier versions, which did not weigh depths, it "
        "held as few as 64 % before two maps were measured, and 88 % or more from four on.",
    ),
    Term("Measured", "Read off the compressed model itself, run on a text."),
    Term(
        "Without training",
        "The thin matrices are computed from the weights and a sample of text; they were not trained afterwards. "
        "Training can recover quality and is always reported separately.",
    ),
    Term(
        "Multiply-adds",
        "The arithmetic for one token. Fewer multiply-adds do not imply the same gain in speed.",
    ),
    Term("Projection", "One weight matrix of a layer; its kind (q, k, v, o, gate, up, down, …) says what for."),
    Term(
        "Spectrum",
        "The singular values of a projection, largest first. Where they fall quickly, few ranks hold most of the "
        "matrix and it can be cut.",
    ),
    Term(
        "Break-even",
        "The rank from which two thin matrices are no smaller than the one they replace. Above it the projection "
        "stays dense.",
    ),
    Term(
        "Ranks in steps",
        "Water-filling chooses ranks and widths that are multiples of a power of two, up to 32 for large matrices, "
        "because processors are slow at odd sizes. What is set by hand is taken as it is.",
    ),
    Term(
        "Predicted speed",
        "The time for a token on a device: the slower of reading the weights and computing the products, and what "
        "every operation takes besides. A speed typed on the board is a budget: each method then has its best map that "
        "is predicted to be so fast.",
    ),
    Term(
        "Pareto front",
        "The measured maps that no other one beats: none is at least as good and as cheap, and better in one.",
    ),
)
"""Everything a reader of pages and reports may have to look up, basics first."""

_NOT_REPORTED: Final = {"Projection", "Spectrum", "Break-even", "Ranks in steps", "Predicted speed"}
REPORT_TERMS: Final = tuple(term for term in TERMS if term.word not in _NOT_REPORTED)
"""The words that a report uses."""

FORMATS: Final[Mapping[Format, str]] = {
    Format.DENSE: "The original matrix, not compressed.",
    Format.LOW_RANK: "Two thin matrices instead of one. It saves parameters below the break-even rank only.",
    Format.CAT: "Projections with the same input (q, k, v; gate, up) share one inner matrix that runs once per token.",
    Format.SKIP: "Two thin matrices, one of which contains an identity block that is neither stored nor multiplied: "
    "more rank for the same parameters, and smaller than dense at every rank below full.",
    Format.SKIP_CAT: "Both at once: a shared inner matrix with an identity block.",
    Format.WIDTH: "An MLP with fewer neurons: gate, up and down are ordinary matrices, merely smaller, and as fast as "
    "their size says in every runtime.",
}
"""How the factors of a matrix are stored and run."""


@dataclass(frozen=True, slots=True)
class MethodCard:
    """What there is to know about a method beside its name, its summary and its paper.

    Attributes:
        idea: why it should work.
        formula: the rule, in one line.
        cost: what it takes to get ranks, after the analysis.
    """

    idea: str
    formula: str
    cost: str


METHODS: Final[Mapping[str, MethodCard]] = {
    "svd-llm": MethodCard(
        "Some directions of a layer's input hardly occur, so errors there hardly matter. The matrix is cut where the "
        "error on real inputs is smallest. Every layer keeps the same fraction.",
        "W \u2248 [W S]\u1d63 S\u207b\u00b9, with S S\u1d40 = E[x x\u1d40]",
        "Nothing: the ranks follow from the shapes.",
    ),
    "flrc": MethodCard(
        "A layer whose weights change the loss more deserves more rank. The gradients of one pass tell how much.",
        "rank \u221d \u03a3 (g \u00b7 w)\u00b2, g the gradient of the loss",
        "Nothing: the analysis has already measured the importances.",
    ),
    "bolaco": MethodCard(
        "No formula knows how much rank each kind of projection needs, so it is measured: a search compresses the "
        "model with different splits, and a Gaussian process proposes the next one.",
        "minimise perplexity + \u03bb \u00b7 KL(dense \u2016 compressed) over a kept fraction per kind",
        "A search: the compressed model runs once per trial. Until then, nothing: predictions search the same space.",
    ),
    "skipcat": MethodCard(
        "Storing the factors more cleverly leaves more rank for the same parameters. Every layer keeps the same "
        "fraction.",
        "parameters = r (in + out \u2212 r), instead of r (in + out)",
        "Nothing: the ranks follow from the shapes.",
    ),
    "water-filling": MethodCard(
        "Every projection has a curve: parameters against the predicted increase of the loss. The budget goes where a "
        "parameter buys most, over all layers, ranks, widths and formats at once. What is promised is corrected, "
        "depth by depth, by how much compressed parts of the model were harmed.",
        "minimise \u03a3 \u00bd \u03a3 \u03c3\u00b2 discarded, at the budget",
        "Milliseconds: one sorted list answers every budget.",
    ),
    "width": MethodCard(
        "Neurons whose output the others foretell can go, and the last matrix of the MLP makes up for them. Every MLP "
        "keeps the same number, attention stays as it is, so the result is an ordinary, smaller model.",
        "down ← W C[:, S] C[S, S]⁻¹, with C = E[h hᵀ] of the neurons h and S those kept",
        "Nothing: the widths follow from the shapes.",
    ),
}
"""Cards of the presets by name."""
