"""Refine a compressed model layer by layer; every finished layer is stored, so a killed job goes on after it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from cache import write_json
from engine.compression import compress
from engine.corpora import load_corpus
from engine.model import open_model
from engine.pipeline import keys
from engine.pipeline.evaluating import analysis_spec, reopen_folder
from engine.pipeline.factors import factors_reader
from engine.pipeline.reading import load_analysis
from engine.pipeline.refined import read_layer, write_layer
from engine.progress import part_of
from engine.rank_map import check_rank_map
from engine.refinement import LeftCorrection, improve_layer_by_layer, train_layer
from engine.sources import corpus_fingerprint, resolve_texts

if TYPE_CHECKING:
    from pathlib import Path

    from cache import Key, Store
    from engine.progress import Report
    from engine.rank_map import RankMap
    from engine.refinement.sweep import LayerPair
    from engine.specs import RefinementSpec


def refine(
    store: Store,
    downloads: Path,
    analysis_id: str,
    rank_map: RankMap,
    spec: RefinementSpec,
    report: Report,
    *,
    minutes: float = 30.0,
    device: str = "auto",
) -> Key:
    """Refine the model a rank map makes, store its factors and return their key.

    Args:
        store: holds the analysis and receives the factors.
        downloads: where fetched files pass through.
        analysis_id: the analysis whose factors the map selects.
        rank_map: what the model is compressed to.
        spec: correction and training.
        report: told after every layer.
        minutes: training steps stop when these are over; layers share them evenly.
        device: where it runs.

    Raises:
        RankScopeError: the analysis, its model or its text is not there any more, or the map does not fit.
    """
    analysis = load_analysis(store, analysis_id)
    check_rank_map(rank_map, analysis.inventory, analysis.about["model_fingerprint"])
    corpus = analysis_spec(analysis).corpus
    key = keys.refinement_key(rank_map, analysis.id, spec, corpus_fingerprint(corpus))
    if key in store:
        report("refinement", 1.0, "This refinement exists already")
        return key
    began = time.monotonic()
    folder = reopen_folder(analysis, store, downloads, part_of(report, 0.0, 0.05))
    texts = resolve_texts(corpus, store, downloads, part_of(report, 0.0, 0.05))
    report("model", 0.05, f"Opening {folder.spec.label}")
    model = open_model(folder.path, dtype="float32", device=device, trust_remote_code=folder.spec.trust_remote_code)
    tokens = load_corpus(corpus, model.tokenizer, texts).tokens
    compressed = compress(model.module, rank_map.blocks, factors_reader(analysis, store, rank_map.metric))
    correct = LeftCorrection(model.module, compressed, model.inventory, spec.damping)
    deadline = time.monotonic() + 60 * minutes
    layers = sorted({group.layer for group in model.inventory.groups})

    def improve(pair: LayerPair) -> None:
        layer_key = keys.refined_layer_key(key, pair.index)
        if layer_key not in store:
            correct(pair)
            if spec.training is not None:
                left = sum(layer >= pair.index for layer in layers)
                now = time.monotonic()
                train_layer(pair, spec.training, now + (deadline - now) / max(left, 1))
            with store.writing(layer_key, {"analysis": analysis.id, "layer": pair.index}) as into:
                write_layer(pair.compressed, into)
        read_layer(pair.compressed, store.read(layer_key))

    improve_layer_by_layer(
        model.module,
        compressed,
        tokens,
        improve,
        part_of(report, 0.1, 1.0),
        watched=correct.watched,
        batch_size=spec.batch_size,
        compute_dtype=spec.compute_dtype,
    )
    about = {"analysis": analysis.id, "seconds": round(time.monotonic() - began, 2)}
    with store.writing(key, about) as into:
        write_json(into / "refinement.json", {"kind": spec.kind, "spec": asdict(spec), "corpus": corpus.label})
        (into / "rank-map.json").write_text(rank_map.to_json(), encoding="utf-8")
    return key
