"""Post-train the diagonals of a compressed model on its calibration text, measured before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors.torch import save_file

from cache import write_json
from engine.methods.cost import cost_of
from engine.pipeline import keys
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import analysis_spec, load_analysis
from engine.pipeline.reading.documents import read_document
from engine.pipeline.trainable import require_diagonals
from engine.progress import part_of
from engine.refinement.post_training import train_diagonals
from engine.results.outcomes import PostTraining

if TYPE_CHECKING:
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.settings import Home
    from engine.specs import EvaluationSpec, PostTrainingSpec


def post_train(
    home: Home,
    analysis_id: str,
    rank_map: RankMap,
    spec: PostTrainingSpec,
    evaluation: EvaluationSpec,
    report: Report,
    *,
    device: str = "auto",
) -> PostTraining:
    """Train on the calibration text, measure on another, store diagonals and figures; return the figures.

    What is stored is not computed again, although time decides how many steps were taken.

    Raises:
        RankScopeError: the analysis, its model or a text is not there any more, the map does not fit, or the loss
            is not finite.
    """
    store = home.store
    analysis, told = load_analysis(store, analysis_id), part_of(report, 0.0, 0.2)
    require_diagonals(rank_map, analysis)
    opened = open_analysis(home, analysis, told, dtype=evaluation.dtype, device=device)
    opened.require_whole()
    session = EvaluationSession(home, analysis_id, evaluation, told, device=device, opened=opened)
    before = session.measure(rank_map, part_of(report, 0.2, 0.35))
    key = keys.post_training_key(before.provenance.fingerprint, spec)
    if key not in store:
        corpus = analysis_spec(session.analysis).corpus
        tokens = session.opened.sequences(corpus, part_of(report, 0.35, 0.35))
        module = session.opened.compress(rank_map)
        steps = 0

        def count(stage: str, fraction: float | None, message: str) -> None:
            nonlocal steps
            steps += 1
            part_of(report, 0.35, 0.85)(stage, fraction, message)

        diagonals = train_diagonals(module, tokens, spec, count)
        after = session.run(module, part_of(report, 0.85, 1.0))
        document = {
            "perplexity": after.perplexity,
            "perplexity_before": before.perplexity,
            "dense_perplexity": after.dense_perplexity,
            "divergence": after.divergence,
            "divergence_before": before.divergence,
            "agreement": after.agreement,
            "kept_fraction": cost_of(session.analysis, rank_map).kept_fraction,
            "trained_params": sum(t.numel() for t in diagonals.values()),
            "steps": steps,
            "minutes": spec.minutes,
            "trained_on": corpus.label,
            "corpus": before.text,
            "n_tokens": after.n_tokens,
            "method": rank_map.method,
            "analysis": session.analysis.id,
        }
        with store.writing(key, {"analysis": session.analysis.id}) as into:
            save_file(diagonals, into / "diagonals.safetensors")
            write_json(into / "post-training.json", document)
            (into / "rank-map.json").write_text(rank_map.to_json(), encoding="utf-8")
    return read_document(PostTraining, store.read(key))
