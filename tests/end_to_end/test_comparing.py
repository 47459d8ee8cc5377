"""Every method at every budget in one stored table."""

from __future__ import annotations

import statistics

import pytest

from cache import DirectoryStore
from engine.errors import InvalidSpecError
from engine.methods.presets import PRESETS
from engine.pipeline.compare import ComparisonSpec, compare, median_relative_error
from engine.pipeline.reading.measurements import newest_comparison
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec
from tests.end_to_end.test_chain import run
from tests.support.tiers import FEW, sweep_unless

KEEPS = (0.9, 0.6)


def texts(text_file):
    def spec(n_sequences):
        corpus = CorpusSpec.parse(str(text_file), part="evaluation", n_sequences=n_sequences, length=32)
        return EvaluationSpec(corpus)

    return spec(4), spec(2)


@pytest.mark.parametrize("name", sweep_unless(FEW, {"llama-gqa"}))
def test_the_table_has_every_method_at_every_budget_and_is_kept(name, tmp_path, model_folder, text_file):
    store = DirectoryStore(tmp_path / "artifacts")
    analysis = run(Home(tmp_path), model_folder(name), text_file)
    assert newest_comparison(store, analysis.id) is None
    spec = ComparisonSpec(KEEPS, tuple(PRESETS), *texts(text_file), search_trials=4)

    def table():
        return compare(Home(tmp_path), analysis.id, spec, ignore_progress, device="cpu")

    found = table()
    missing = [(m.method, m.target_kept_fraction) for m in found.impossible]
    narrow = {"width"} if name == "qwen2-moe" else set()  # most of its parameters are experts, which have no width
    assert all(method in {"bolaco", *narrow} for method, _ in missing)
    cells = [(r.method, r.target_kept_fraction) for r in found.rows]
    assert sorted(cells + missing) == sorted((method, keep) for method in PRESETS for keep in KEEPS)
    for row in found.rows:
        assert row.kept_fraction <= row.target_kept_fraction
        assert row.predicted_perplexity_low <= row.predicted_perplexity <= row.predicted_perplexity_high
        assert row.prediction_calibrated_on >= len(found.rows) - 2
        assert row.search_s > 0
        assert row.other_dense_perplexity > 1
    assert found.texts == f"{text_file.name} (calibration text); other text: {text_file.name} (calibration text)"
    evaluated = store.keys("evaluation")
    again = table()
    assert again.id == found.id
    assert store.keys("evaluation") == evaluated
    assert newest_comparison(store, found.analysis) == found


def test_the_error_of_predictions_is_the_median_over_harm_worth_predicting():
    pairs = [(0.01, 5.0), (0.1, 0.12), (1.0, 1.1), (1.4, 0.7), (9.0, 1.0)]
    assert median_relative_error(pairs) == pytest.approx(statistics.median([0.2, 0.1, 0.5]))
    assert median_relative_error(pairs[:1]) is None


def test_comparing_nothing_is_refused(text_file):
    text, other = texts(text_file)
    with pytest.raises(InvalidSpecError, match="at least one kept fraction"):
        ComparisonSpec((), ("flrc",), text, other)
    with pytest.raises(InvalidSpecError, match=r"such as 0\.8,0\.6"):
        ComparisonSpec((1.5,), ("flrc",), text, other)
    with pytest.raises(InvalidSpecError, match="water-filling"):
        ComparisonSpec((0.5,), ("water",), text, other)
