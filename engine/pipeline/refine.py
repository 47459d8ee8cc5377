"""Refine a compressed model: its left factors in closed form, then perhaps all factors by training.

Every corrected layer and the training at every check is stored, so that a killed job goes on from there.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from cache import write_json
from engine.errors import CorpusError
from engine.evaluation.perplexity import measure, take_reference
from engine.model.module import decoder_layers, pass_type
from engine.pipeline import keys
from engine.pipeline.layerwise import dense_by_layer
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import analysis_spec, load_analysis
from engine.pipeline.refined import (
    apply_refinement,
    read_checkpoint,
    read_layer,
    write_checkpoint,
    write_layer,
)
from engine.pipeline.sequences import sequences_fingerprint
from engine.pipeline.trainable import require_trainable
from engine.progress import part_of
from engine.rank_map.document import check_rank_map
from engine.refinement import N_CHECKS, Distillation, LeftCorrection, improve_layer_by_layer
from engine.specs import EvaluationSpec
from engine.types import Format

if TYPE_CHECKING:
    import torch
    from torch import nn

    from cache import Key, Store
    from engine.analysis.value import Analysis
    from engine.model.opening import OpenModel
    from engine.pipeline.opened import OpenedAnalysis
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.refinement import Checkpoint
    from engine.refinement.sweep import LayerPair
    from engine.settings import Home
    from engine.specs import RefinementSpec


_HELD_OUT = 8
"""Sequences that are not trained on and say when training no longer helps, or an eighth of a shorter text."""

_UNREAD = 8
"""Sequences that say whether a refinement helps at all."""


def refine(
    home: Home,
    analysis_id: str,
    rank_map: RankMap,
    spec: RefinementSpec,
    report: Report,
    *,
    device: str = "auto",
    teacher: Analysis | None = None,
) -> Key:
    """Refine the model a rank map makes, store its factors and return their key.

    Args:
        home: where everything is stored.
        analysis_id: the analysis whose factors the map selects.
        rank_map: what the model is compressed to.
        spec: correction and training.
        report: told after every layer and step.
        device: where it runs.
        teacher: of the model whose predictions are learnt in training, where the analysed one was made from it.

    Raises:
        InvalidSpecError: the map cuts nothing, so that there is nothing to train.
        ResourceError: the model does not fit into memory, and training needs it whole.
        RankScopeError: the analysis, its model or its text is not there any more, or the map does not fit.
    """
    store = home.store
    analysis = load_analysis(store, analysis_id)
    check_rank_map(rank_map, analysis.inventory, analysis.about["model_fingerprint"])
    corpus = analysis_spec(analysis).corpus
    told = part_of(report, 0.0, 0.05)
    # A correction holds the compressed model beside the dense one, or both layer by layer; training only whole ones.
    copies = 2.0 if spec.training is None else 1.0
    opened = open_analysis(home, analysis, told, dtype="float32", device=device, copies=copies)
    sequences = sequences_fingerprint(opened.folder, corpus)
    learnt_from = None if teacher is None else teacher.about["model_fingerprint"]

    def key_of(wanted: RefinementSpec) -> Key:
        return keys.refinement_key(rank_map, analysis.id, wanted, sequences, learnt_from)

    if spec.compute_dtype == "auto":
        half = replace(spec, compute_dtype="bfloat16")
        spec = half if key_of(half) in store else replace(spec, compute_dtype=pass_type(device))
    key = key_of(spec)
    if key in store:
        report("refinement", 1.0, "This refinement exists already")
        return key
    if spec.training is not None:
        beside = 0 if teacher is None else teacher.inventory.total_params
        require_trainable(rank_map, analysis, device, beside_params=beside)
    began = time.monotonic()
    by_layer = opened.dense.weights is not None and spec.training is None
    model, compressed = opened.dense, None if by_layer else opened.compress(rank_map)
    middle = 1.0 if spec.training is None else 0.3 if spec.correct else 0.1
    if spec.correct:
        tokens = opened.sequences(corpus, part_of(report, 0.05, 0.1))
        corrected = key_of(replace(spec, training=None))
        told = part_of(report, 0.1, middle)
        if compressed is None:
            _correct_by_layer(corrected, opened, rank_map, tokens, spec, told)
        else:
            _correct(store, corrected, model, compressed, tokens, spec, told)
    document: dict[str, object] = {"kind": spec.kind, "spec": asdict(spec), "corpus": corpus.label}
    if spec.training is not None and compressed is not None:
        wanted = replace(corpus, n_sequences=spec.training.n_sequences + _HELD_OUT)
        text = opened.sequences(wanted, part_of(report, middle, middle), or_all=True)
        if teacher is not None:
            original = open_analysis(home, teacher, part_of(report, middle, middle), dtype="float32", device=device)
            original.require_whole()
            model = original.dense
        end = _train(store, key, model.module, compressed, text, spec, part_of(report, middle, 1.0))
        document |= {"steps": end.steps, "held_out_divergences": list(end.divergences)}
        for index, layer in enumerate(decoder_layers(compressed)):
            with store.writing(keys.refined_layer_key(key, index), {"analysis": analysis.id}) as into:
                write_layer(layer, into, trained=True)
    about = {"analysis": analysis.id, "seconds": round(time.monotonic() - began, 2)}
    with store.writing(key, about) as into:
        write_json(into / "refinement.json", document)
        (into / "rank-map.json").write_text(rank_map.to_json(), encoding="utf-8")
    for check in _checks(store, key):
        store.delete(check)
    return key


def serves_unread_text(
    home: Home, analysis_id: str, rank_map: RankMap, refinement: Key, report: Report, *, device: str = "auto"
) -> bool:
    """Return whether refined factors do better than those of the analysis on the text that follows what both have read.

    Where the text ends there, it is measured on the last that they have read.

    Args:
        home: where everything is stored.
        analysis_id: the analysis whose factors the map selects.
        rank_map: what the model is compressed to.
        refinement: of the map's factors.
        report: told after every batch.
        device: where it runs.

    Raises:
        RankScopeError: the analysis, its model or its text is not there any more.
    """
    store, key = home.store, keys.unread_text_key(refinement, _UNREAD)
    if key not in store:
        analysis = load_analysis(store, analysis_id)
        losses = _on_unread_text(home, analysis, rank_map, refinement, report, device)
        with store.writing(key, {"analysis": analysis.id}) as into:
            write_json(into / "losses.json", losses)
    found = store.read(key).json("losses.json")
    return bool(found["refined"] < found["plain"])


def _on_unread_text(
    home: Home, analysis: Analysis, rank_map: RankMap, refinement: Key, report: Report, device: str
) -> dict[str, float]:
    """Return the losses with ``plain`` factors and with ``refined`` ones, in nats per token."""
    corpus = analysis_spec(analysis).corpus
    opened = open_analysis(home, analysis, part_of(report, 0.0, 0.1), dtype="float32", device=device)
    wanted = replace(corpus, n_sequences=corpus.n_sequences + _UNREAD)
    tokens = opened.sequences(wanted, part_of(report, 0.1, 0.2), or_all=True)[-_UNREAD:]
    spec = EvaluationSpec(replace(corpus, n_sequences=len(tokens)))
    dense = opened.dense
    reference = take_reference(
        dense.module if dense.weights is None else dense_by_layer(dense), tokens, spec, part_of(report, 0.2, 0.4)
    )
    factors = {"plain": (0.4, None), "refined": (0.7, refinement)}
    return {
        name: measure(opened.runnable(rank_map, key), tokens, reference, spec, part_of(report, start, start + 0.3)).nll
        for name, (start, key) in factors.items()
    }


def _correct(
    store: Store,
    key: Key,
    model: OpenModel,
    compressed: nn.Module,
    tokens: torch.Tensor,
    spec: RefinementSpec,
    report: Report,
) -> None:
    """Correct left factors, reading the layers that are stored already."""
    if key in store:
        apply_refinement(compressed, store, key)
        return
    correct = LeftCorrection(model.module, compressed, model.inventory, spec.damping)
    improve = partial(_correct_layer, store, key, correct)
    improve_layer_by_layer(
        model.module,
        compressed,
        tokens,
        improve,
        report,
        watched=correct.watched,
        batch_size=spec.batch_size,
        compute_dtype=spec.compute_dtype,
    )


def _correct_by_layer(
    key: Key, opened: OpenedAnalysis, rank_map: RankMap, tokens: torch.Tensor, spec: RefinementSpec, report: Report
) -> None:
    """Do the same with one layer of both models in memory at a time."""
    model, layers = opened.dense, opened.by_layer(rank_map, apart=True)
    correct = LeftCorrection(model.module, layers.module, model.inventory, spec.damping)
    downs = model.inventory.downs
    watched = [
        name
        for block in rank_map.blocks
        if block.rank is not None
        for name in block.members
        if block.format is not Format.WIDTH or name in downs
    ]
    with contextlib.ExitStack() as held:

        def improve(pair: LayerPair) -> None:
            held.close()  # the layer before, which has run
            held.enter_context(layers.held(pair.index))
            _correct_layer(opened.store, key, correct, pair)

        improve_layer_by_layer(
            model.module,
            layers.module,
            tokens,
            improve,
            report,
            watched=watched,
            batch_size=spec.batch_size,
            compute_dtype=spec.compute_dtype,
        )


def _correct_layer(store: Store, key: Key, correct: LeftCorrection, pair: LayerPair) -> None:
    """Correct one layer, or read it where that is done."""
    layer_key = keys.refined_layer_key(key, pair.index)
    if layer_key not in store:
        correct(pair)
        with store.writing(layer_key, {"layer": pair.index}) as into:
            write_layer(pair.compressed, into)
    read_layer(pair.compressed, store.read(layer_key))


def _train(
    store: Store,
    refinement: Key,
    teacher: nn.Module,
    compressed: nn.Module,
    text: torch.Tensor,
    spec: RefinementSpec,
    report: Report,
) -> Checkpoint:
    """Train from the last stored check on; return where it ended."""
    assert spec.training is not None
    n_held_out = min(_HELD_OUT, max(1, len(text) // 8))
    if len(text) == n_held_out:
        raise CorpusError(
            "The text has one sequence of this length, and training needs one to train on and one to check; give more "
            "text, or analyse with shorter sequences."
        )
    training = Distillation(
        teacher,
        compressed,
        text[:-n_held_out][: spec.training.n_sequences],
        text[-n_held_out:],
        spec.training,
        batch_size=spec.batch_size,
        compute_dtype=spec.compute_dtype,
    )
    known = _checks(store, refinement)
    start = read_checkpoint(store.read(known[-1])) if known else None

    def save(checkpoint: Checkpoint) -> None:
        earlier = _checks(store, refinement)
        with store.writing(keys.training_check_key(refinement, checkpoint.n_checks), {}) as into:
            write_checkpoint(checkpoint, into)
        for key in earlier:
            store.delete(key)

    return training.run(report, start=start, save=save)


def _checks(store: Store, refinement: Key) -> list[Key]:
    """Return what is stored of an unfinished training, in its order."""
    wanted = (keys.training_check_key(refinement, check) for check in range(1, N_CHECKS + 1))
    return [key for key in wanted if key in store]
