"""What an export wrote, and what a model came to on the way, named as their JSON in ``docs/cli.md``; free of torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.export.card import loading_lines
from engine.export.specs import ExportFormat


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A folder that a fresh process opened.

    Attributes:
        architecture: the class it is opened as.
        refinement: id of the refined factors; ``None``: as the analysis computed them.
        saves_memory: whether it is smaller than the dense model.
        weight_bytes: stored; those of an ONNX graph with the graph itself.
        max_logit_difference: from the model in memory, over ``n_verified_tokens``.
        n_measurements: stated in its card.
        load: lines of Python that open it.
        same_top: fraction of the verified tokens after which the most probable one is the same; ``None``: exports of
            before did not say.
    """

    folder: str
    format: ExportFormat
    dtype: str
    architecture: str
    analysis: str
    model: str
    method: str
    metric: str
    refinement: str | None
    kept_fraction: float
    model_params: int
    dense_params: int
    saves_memory: bool
    weight_bytes: int
    predicted_weight_bytes: int
    dense_weight_bytes: int
    folder_bytes: int
    max_logit_difference: float
    largest_logit: float
    n_verified_tokens: int
    n_measurements: int
    load: tuple[str, ...]
    seconds: float
    same_top: float | None = None

    def moved(self, folder: str) -> ExportedModel:
        """Return the same in another folder."""
        return replace(self, folder=folder, load=loading_lines(folder, self.format))


@dataclass(frozen=True, slots=True)
class ComparedPerplexity:
    """A text, read by the original model, by a compressed one, and by the one between them if there is one."""

    text: str
    n_tokens: int
    dense_perplexity: float
    narrowed_perplexity: float | None
    perplexity: float


@dataclass(frozen=True, slots=True)
class Compressed:
    """A model that was compressed to a size in one or two steps.

    Attributes:
        model: the original.
        analyses: ids; that of the original first, then that of the narrowed model if there is one.
        kept_fraction: of the original's compressible parameters.
        perplexities: on every text.
        exported: the model; its own fractions are over the model of the last analysis.
        trained: whether training found better factors; ``None``: none was asked for.
    """

    model: str
    analyses: tuple[str, ...]
    kept_fraction: float
    perplexities: tuple[ComparedPerplexity, ...]
    exported: ExportedModel
    seconds: float
    trained: bool | None = None
