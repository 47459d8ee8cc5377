"""Refine a compressed model: its left factors in closed form, then perhaps all factors by training.

Every corrected layer and every epoch is stored, so that a killed job goes on after the last finished one.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from cache import write_json
from engine.model.module import decoder_layers, pass_type
from engine.pipeline import keys
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import analysis_spec, load_analysis
from engine.pipeline.refined import apply_refinement, read_layer, write_layer
from engine.pipeline.sequences import sequences_fingerprint
from engine.progress import part_of
from engine.rank_map.document import check_rank_map
from engine.refinement import Checkpoint, LeftCorrection, distil, improve_layer_by_layer

if TYPE_CHECKING:
    import torch
    from torch import nn

    from cache import Key, Store
    from engine.model.opening import OpenModel
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.refinement.sweep import LayerPair
    from engine.settings import Home
    from engine.specs import RefinementSpec


def refine(
    home: Home,
    analysis_id: str,
    rank_map: RankMap,
    spec: RefinementSpec,
    report: Report,
    *,
    device: str = "auto",
) -> Key:
    """Refine the model a rank map makes, store its factors and return their key.

    Args:
        home: where everything is stored.
        analysis_id: the analysis whose factors the map selects.
        rank_map: what the model is compressed to.
        spec: correction and training.
        report: told after every layer and step.
        device: where it runs.

    Raises:
        RankScopeError: the analysis, its model or its text is not there any more, or the map does not fit.
    """
    store = home.store
    analysis = load_analysis(store, analysis_id)
    check_rank_map(rank_map, analysis.inventory, analysis.about["model_fingerprint"])
    corpus = analysis_spec(analysis).corpus
    opened = open_analysis(home, analysis, part_of(report, 0.0, 0.05), dtype="float32", device=device)
    sequences = sequences_fingerprint(opened.folder, corpus)

    def key_of(wanted: RefinementSpec) -> Key:
        return keys.refinement_key(rank_map, analysis.id, wanted, sequences)

    if spec.compute_dtype == "auto":
        half = replace(spec, compute_dtype="bfloat16")
        spec = half if key_of(half) in store else replace(spec, compute_dtype=pass_type(device))
    key = key_of(spec)
    if key in store:
        report("refinement", 1.0, "This refinement exists already")
        return key
    began = time.monotonic()
    tokens = opened.sequences(corpus, part_of(report, 0.05, 0.1))
    model, compressed = opened.dense, opened.compress(rank_map)
    corrected = key_of(replace(spec, training=None))
    middle = 1.0 if spec.training is None else 0.4
    _correct(store, corrected, model, compressed, tokens, spec, part_of(report, 0.1, middle))
    document = {"kind": spec.kind, "spec": asdict(spec), "corpus": corpus.label, "epochs": 0}
    if spec.training is not None:
        # More minutes go on where fewer stopped.
        timeless = replace(spec, training=replace(spec.training, minutes=1.0))
        place = key_of(timeless)
        document["epochs"] = _train(store, place, model, compressed, tokens, spec, part_of(report, middle, 1.0))
        for index, layer in enumerate(decoder_layers(compressed)):
            with store.writing(keys.refined_layer_key(key, index), {"analysis": analysis.id}) as into:
                write_layer(layer, into)
    about = {"analysis": analysis.id, "seconds": round(time.monotonic() - began, 2)}
    with store.writing(key, about) as into:
        write_json(into / "refinement.json", document)
        (into / "rank-map.json").write_text(rank_map.to_json(), encoding="utf-8")
    return key


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

    def improve(pair: LayerPair) -> None:
        layer_key = keys.refined_layer_key(key, pair.index)
        if layer_key not in store:
            correct(pair)
            with store.writing(layer_key, {"layer": pair.index}) as into:
                write_layer(pair.compressed, into)
        read_layer(pair.compressed, store.read(layer_key))

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


def _train(
    store: Store,
    place: Key,
    model: OpenModel,
    compressed: nn.Module,
    tokens: torch.Tensor,
    spec: RefinementSpec,
    report: Report,
) -> int:
    """Train from the last stored epoch on; return the number of finished epochs."""
    assert spec.training is not None
    known = [n for n in range(1, spec.training.epochs + 1) if keys.refined_epoch_key(place, n) in store]
    start = None
    if known:
        stored = store.read(keys.refined_epoch_key(place, known[-1]))
        start = Checkpoint(known[-1], load_file(stored.path("training.safetensors")))

    def save(checkpoint: Checkpoint) -> None:
        with store.writing(keys.refined_epoch_key(place, checkpoint.epochs), {"epochs": checkpoint.epochs}) as into:
            save_file(checkpoint.tensors, into / "training.safetensors")
        earlier = keys.refined_epoch_key(place, checkpoint.epochs - 1)
        if earlier in store:
            store.delete(earlier)

    return distil(
        model.module,
        compressed,
        tokens,
        spec.training,
        report,
        batch_size=spec.batch_size,
        compute_dtype=spec.compute_dtype,
        deadline=time.monotonic() + 60 * spec.training.minutes,
        start=start,
        save=save,
    )
