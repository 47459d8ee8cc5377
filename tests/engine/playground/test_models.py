"""What the host keeps in memory: one dense model, and a few variants that share its weights."""

from __future__ import annotations

from engine.methods.allocate import allocate_rank_map
from engine.pipeline.reading.analyses import curves_by_metric
from engine.playground.models import KEPT_VARIANTS, Models
from engine.playground.questions import MapChoice
from engine.progress import ignore_progress
from engine.settings import Home
from engine.types import Budget


def test_the_last_variants_are_kept_and_share_the_dense_models_weights(toy_home, toy_analysis):
    models = Models(Home(toy_home), 0)
    session = models.session(toy_analysis.id, ignore_progress)
    assert models.session(toy_analysis.id, ignore_progress) is session
    curves, total = curves_by_metric(toy_analysis), toy_analysis.inventory.compressible_params
    choices = [
        MapChoice(allocate_rank_map(toy_analysis, curves, "svd-llm", Budget.of_kept_fraction(kept, total)).to_json())
        for kept in (0.9, 0.8, 0.7, 0.6)
    ]
    made = [models.variant(session, choice, ignore_progress) for choice in choices]
    assert len(choices) == KEPT_VARIANTS + 1
    for choice, variant in zip(choices[1:], made[1:], strict=True):
        assert models.variant(session, choice, ignore_progress) is variant
    assert models.variant(session, choices[0], ignore_progress) is not made[0]
    embeddings = {id(v.decoder.get_input_embeddings().weight) for v in (session.dense(), *made)}
    assert len(embeddings) == 1
