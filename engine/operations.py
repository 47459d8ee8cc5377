"""What a job can do: plain JSON arguments in, plain JSON out. The command line and the pages submit these."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache import Key
from engine.errors import InvalidSpecError
from engine.export.specs import ExportFormat, ExportSpec
from engine.methods.presets import PRESETS
from engine.search.goals import Goal
from engine.search.space import Layout, SpaceSpec
from engine.search.specs import ObjectiveSpec, Subset
from engine.settings import home
from engine.specs import (
    AnalysisSpec,
    CalibrationSpec,
    CorpusSpec,
    EvaluationSpec,
    Fisher,
    ModelSpec,
    RefinementSpec,
    TrainingSpec,
)
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cache import Store
    from engine.progress import Report
    from engine.results.rows import PerplexityResult

ANALYSE_DEFAULTS: dict[str, Any] = {
    "model": "demo",
    "trust_remote_code": False,
    "text": "demo",
    "text_field": "text",
    "n_sequences": 64,
    "length": 512,
    "fisher": Fisher.EMPIRICAL.value,
    "compute_dtype": "bfloat16",
    "batch_size": 2,
    "metrics": [Metric.INPUT.value, Metric.LOSS.value],
    "damping": 1e-6,
    "gradient_shrinkage": 0.05,
    "around_keep": None,
    "feature_groups": None,
    "seed": 0,
    "memory_gb": 4.0,
    "device": "auto",
}
EVALUATE_DEFAULTS: dict[str, Any] = {
    "text": "demo",
    "text_field": "text",
    "n_sequences": 20,
    "length": 512,
    "dtype": "float32",
    "batch_size": 4,
    "device": "auto",
}
POST_TRAIN_DEFAULTS: dict[str, Any] = {
    **EVALUATE_DEFAULTS,
    "minutes": 5.0,
    "max_steps": 1000,
    "learning_rate": 1e-3,
    "train_batch_size": 2,
    "seed": 0,
}
SENSITIVITY_DEFAULTS: dict[str, Any] = {
    "text": "demo",
    "text_field": "text",
    "n_sequences": 4,
    "length": 256,
    "kept_fraction": 0.5,
    "compute_dtype": "float32",
    "device": "auto",
}
SEARCH_DEFAULTS: dict[str, Any] = {
    "target": 0.8,
    "pareto": False,
    "low": 0.5,
    "high": 0.95,
    "space": Layout.KINDS.value,
    "rank_step": 8,
    "tied": ["q", "k"],
    "dense": ["v"],
    "trials": 50,
    "divergence_weight": 1.0,
    "text": "demo",
    "text_field": "text",
    "n_sequences": 24,
    "length": 512,
    "subset": Subset.SENSITIVE.value,
    "n_subset": 8,
    "n_allocations": 6,
    "dtype": "float32",
    "batch_size": 4,
    "seed": 0,
    "storage": None,
    "device": "auto",
}
REFINE_DEFAULTS: dict[str, Any] = {
    "train": False,
    "epochs": 4,
    "learning_rate": 3e-4,
    "damping": 1e-3,
    "batch_size": 4,
    "compute_dtype": "bfloat16",
    "minutes": 30.0,
    "seed": 0,
    "text": "demo",
    "text_field": "text",
    "n_sequences": 20,
    "length": 512,
    "dtype": "float32",
    "device": "auto",
}
EXPORT_DEFAULTS: dict[str, Any] = {"format": ExportFormat.FACTORED.value, "dtype": "auto", "refinement": None}
COMPARE_DEFAULTS: dict[str, Any] = {
    "kept_fractions": [0.9, 0.8, 0.7, 0.6, 0.5],
    "methods": list(PRESETS),
    "text": "demo",
    "text_field": "text",
    "n_sequences": 20,
    "other_text": "demo:news",
    "other_n_sequences": 10,
    "length": 512,
    "dtype": "float32",
    "batch_size": 4,
    "search_trials": 40,
    "seed": 0,
    "device": "auto",
}


def run(operation: str, arguments: Mapping[str, Any], report: Report) -> object:
    """Run one operation in this process; the entry point of every job.

    Raises:
        InvalidSpecError: there is no such operation.
        RankScopeError: the operation says why it cannot be done.
    """
    operations = {
        "fetch-demo": _fetch_demo,
        "analyse": _analyse,
        "evaluate": _evaluate,
        "sensitivity": _sensitivity,
        "search": _search,
        "refine": _refine,
        "export": _export,
        "compare": _compare,
        "post-train": _post_train,
    }
    if operation not in operations:
        raise InvalidSpecError(f"There is no operation {operation!r}; expected one of {', '.join(operations)}.")
    return operations[operation](arguments, report)


def analysis_spec(arguments: Mapping[str, Any]) -> AnalysisSpec:
    """Return the spec that ``analyse`` arguments describe; unknown names and values are errors.

    Raises:
        InvalidSpecError: a value is out of range or names nothing.
    """
    a = _with_defaults(arguments, ANALYSE_DEFAULTS)
    return AnalysisSpec(
        ModelSpec.parse(a["model"], trust_remote_code=a["trust_remote_code"]),
        corpus_spec(a, "calibration"),
        CalibrationSpec(_choice(Fisher, a["fisher"]), a["batch_size"], a["compute_dtype"], a["seed"]),
        tuple(m for m in Metric if m in [_choice(Metric, name) for name in a["metrics"]]),
        a["damping"],
        a["gradient_shrinkage"],
        a["around_keep"],
        a["feature_groups"],
    )


def corpus_spec(arguments: Mapping[str, Any], part: str) -> CorpusSpec:
    """Return the corpus that arguments describe."""
    return CorpusSpec.parse(
        arguments["text"],
        part=part,
        n_sequences=arguments["n_sequences"],
        length=arguments["length"],
        text_field=arguments["text_field"],
    )


def analysis_title(arguments: Mapping[str, Any]) -> str:
    """Return what a person calls the job."""
    spec = analysis_spec(arguments)
    return f"Analyse {spec.model.label} on {spec.corpus.label}"


def _choice(kind: Any, value: str) -> Any:
    if value not in list(kind):
        raise InvalidSpecError(f"{kind.__name__} {value!r} was given; expected one of {', '.join(kind)}.")
    return kind(value)


def _with_defaults(arguments: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(arguments) - set(defaults)
    if unknown:
        raise InvalidSpecError(
            f"The setting {sorted(unknown)[0]!r} does not exist; expected some of {', '.join(defaults)}."
        )
    return {**defaults, **arguments}


def _fetch_demo(_: Mapping[str, Any], report: Report) -> object:
    from engine.model.demo import fetch_demo

    here = home()
    assets = fetch_demo(here, report)
    return {"model": str(assets.model_key), "texts": str(assets.texts_key)}


def _analyse(arguments: Mapping[str, Any], report: Report) -> object:
    from engine.pipeline.analyse import analyse

    here = home()
    a = _with_defaults(arguments, ANALYSE_DEFAULTS)
    key = analyse(
        here,
        analysis_spec(arguments),
        report,
        memory_bytes=int(a["memory_gb"] * 1e9),
        device=a["device"],
    )
    return {"analysis": key.fingerprint}


def _evaluate(arguments: Mapping[str, Any], report: Report) -> object:
    level = arguments.get("level", "perplexity")
    if level != "perplexity":
        return _evaluate_at_level(level, arguments, report)
    from engine.pipeline.evaluate import EvaluationSession
    from engine.progress import part_of
    from engine.rank_map.document import parse_rank_map

    here = home()
    rest = {k: v for k, v in arguments.items() if k not in {"analysis", "rank_maps", "level"}}
    a = _with_defaults(rest, EVALUATE_DEFAULTS)
    spec = EvaluationSpec(corpus_spec(a, "evaluation"), a["dtype"], a["batch_size"])
    rank_maps = [parse_rank_map(text.encode()) for text in arguments["rank_maps"]]
    session = EvaluationSession(
        here,
        arguments["analysis"],
        spec,
        part_of(report, 0.0, 0.4),
        device=a["device"],
    )
    found = [
        session.measure(m, part_of(report, 0.4 + 0.6 * i / len(rank_maps), 0.4 + 0.6 * (i + 1) / len(rank_maps)))
        for i, m in enumerate(rank_maps)
    ]
    return _documents(session.store, session.analysis.id, found)


def _documents(store: Store, analysis_id: str, found: Sequence[PerplexityResult]) -> list[dict[str, Any]]:
    """Return measurements as documented for ``rankscope evaluate --json``, with what was to be expected of them."""
    from engine.pipeline.reading.results import results
    from engine.rank_map.identity import EVALUATION

    rows = [row for row in results(store, analysis_id) if not row.is_dense]
    predictions = {one.provenance.artifact: one.prediction for row in rows for one in row.perplexities}
    documents = []
    for one in found:
        artifact = store.read(Key("evaluation", one.provenance.fingerprint))
        document = {**artifact.json(EVALUATION), "id": one.provenance.fingerprint, "created": one.provenance.created}
        predicted = predictions[one.provenance.artifact]
        if predicted is not None:
            document |= {
                "predicted_nll_increase": math.log(predicted.perplexity / one.dense_perplexity),
                "predicted_perplexity": predicted.perplexity,
                "predicted_perplexity_low": predicted.low,
                "predicted_perplexity_high": predicted.high,
                "prediction_calibrated_on": predicted.calibrated_on,
            }
        documents.append({**document, "seconds": artifact.manifest.about["seconds"]})
    return documents


def _evaluate_at_level(level: str, arguments: Mapping[str, Any], report: Report) -> object:
    from engine.levels import evaluation_plan, level_settings
    from engine.pipeline.measure.plan import measure_all
    from engine.pipeline.reading.results import row_to_json
    from engine.rank_map.document import parse_rank_map

    here = home()
    rest = {k: v for k, v in arguments.items() if k not in {"analysis", "rank_maps", "level"}}
    a = _with_defaults(rest, level_settings(level))
    rank_maps = [parse_rank_map(text.encode()) for text in arguments["rank_maps"]]
    dense, *rows = measure_all(
        here,
        arguments["analysis"],
        rank_maps,
        evaluation_plan(a),
        report,
        device=a["device"],
    )
    return {
        "analysis": arguments["analysis"],
        "level": level,
        "dense": row_to_json(dense),
        "maps": [row_to_json(row) for row in rows],
    }


def _sensitivity(arguments: Mapping[str, Any], report: Report) -> object:
    from engine.pipeline.evaluate import sense
    from engine.pipeline.reading.measurements import measured_sensitivity

    here = home()
    a = _with_defaults({k: v for k, v in arguments.items() if k != "analysis"}, SENSITIVITY_DEFAULTS)
    store = here.store
    sense(
        here,
        arguments["analysis"],
        corpus_spec(a, "calibration"),
        a["kept_fraction"],
        report,
        compute_dtype=a["compute_dtype"],
        device=a["device"],
    )
    return measured_sensitivity(store, arguments["analysis"])


def _search(arguments: Mapping[str, Any], report: Report) -> object:
    from engine.pipeline.search import SearchSpec, search

    here = home()
    a = _with_defaults({k: v for k, v in arguments.items() if k != "analysis"}, SEARCH_DEFAULTS)
    objective, goal, space = search_specs(a)
    return search(
        here,
        arguments["analysis"],
        SearchSpec(objective, goal, space, a["trials"], a["seed"], a["storage"]),
        report,
        device=a["device"],
    )


def _refine(arguments: Mapping[str, Any], report: Report) -> object:
    from engine.pipeline.evaluate import EvaluationSession
    from engine.pipeline.refine import refine
    from engine.progress import part_of
    from engine.rank_map.document import parse_rank_map

    here = home()
    rest = {k: v for k, v in arguments.items() if k not in {"analysis", "rank_map"}}
    a = _with_defaults(rest, REFINE_DEFAULTS)
    store = here.store
    rank_map = parse_rank_map(arguments["rank_map"].encode())
    key = refine(
        here,
        arguments["analysis"],
        rank_map,
        refinement_spec(a),
        part_of(report, 0.0, 0.8),
        device=a["device"],
    )
    text = EvaluationSpec(corpus_spec(a, "evaluation"), a["dtype"], a["batch_size"])
    session = EvaluationSession(here, arguments["analysis"], text, part_of(report, 0.8, 0.86), device=a["device"])
    measured = (
        session.measure(rank_map, part_of(report, 0.86, 0.93)),
        session.measure(rank_map, part_of(report, 0.93, 1.0), key),
    )
    before, after = _documents(store, session.analysis.id, measured)
    return {
        "refinement": key.fingerprint,
        "training_free": not a["train"],
        "seconds": store.read(key).manifest.about["seconds"],
        "before": before,
        "after": after,
    }


def refinement_spec(arguments: Mapping[str, Any]) -> RefinementSpec:
    """Return the spec that ``refine`` arguments describe.

    Raises:
        InvalidSpecError: a value is out of range.
    """
    a = _with_defaults(arguments, REFINE_DEFAULTS)
    training = TrainingSpec(a["epochs"], a["learning_rate"], a["seed"], a["minutes"]) if a["train"] else None
    return RefinementSpec(training, a["damping"], a["batch_size"], a["compute_dtype"])


def _export(arguments: Mapping[str, Any], report: Report) -> object:
    from engine.pipeline.export import export
    from engine.rank_map.document import parse_rank_map

    here = home()
    own = {"analysis", "rank_map", "folder"}
    return export(
        here,
        arguments["analysis"],
        parse_rank_map(arguments["rank_map"].encode()),
        Path(arguments["folder"]),
        export_spec({k: v for k, v in arguments.items() if k not in own}),
        report,
    )


def export_spec(arguments: Mapping[str, Any]) -> ExportSpec:
    """Return the spec that ``export`` arguments describe.

    Raises:
        InvalidSpecError: a value names nothing.
    """
    a = _with_defaults(arguments, EXPORT_DEFAULTS)
    return ExportSpec(_choice(ExportFormat, a["format"]), a["dtype"], a["refinement"])


def _compare(arguments: Mapping[str, Any], report: Report) -> object:
    from engine.pipeline.compare import ComparisonSpec, compare

    here = home()
    a = _with_defaults({k: v for k, v in arguments.items() if k != "analysis"}, COMPARE_DEFAULTS)
    text = EvaluationSpec(corpus_spec(a, "evaluation"), a["dtype"], a["batch_size"])
    other = None
    if a["other_text"]:
        corpus = corpus_spec({**a, "text": a["other_text"], "n_sequences": a["other_n_sequences"]}, "evaluation")
        other = EvaluationSpec(corpus, a["dtype"], a["batch_size"])
    kept_fractions = tuple(float(kept) for kept in a["kept_fractions"])
    return compare(
        here,
        arguments["analysis"],
        ComparisonSpec(kept_fractions, tuple(a["methods"]), text, other, a["search_trials"], a["seed"]),
        report,
        device=a["device"],
    )


def _post_train(arguments: Mapping[str, Any], report: Report) -> object:
    from engine.pipeline.post_train import post_train
    from engine.rank_map.document import parse_rank_map
    from engine.refinement.post_training import PostTrainingSpec

    here = home()
    a = _with_defaults({k: v for k, v in arguments.items() if k not in {"analysis", "rank_map"}}, POST_TRAIN_DEFAULTS)
    return post_train(
        here,
        arguments["analysis"],
        parse_rank_map(arguments["rank_map"].encode()),
        PostTrainingSpec(a["minutes"], a["max_steps"], a["learning_rate"], a["train_batch_size"], a["seed"]),
        EvaluationSpec(corpus_spec(a, "evaluation"), a["dtype"], a["batch_size"]),
        report,
        device=a["device"],
    )


def search_specs(arguments: Mapping[str, Any]) -> tuple[ObjectiveSpec, Goal, SpaceSpec]:
    """Return what search arguments describe; what is out of range is an error.

    Raises:
        InvalidSpecError: a value is out of range or names nothing.
    """
    a = _with_defaults(arguments, SEARCH_DEFAULTS)
    if a["trials"] < 1:
        raise InvalidSpecError(f"{a['trials']} trials were asked for; expected at least 1.")
    objective = ObjectiveSpec(
        corpus_spec(a, "calibration"),
        _choice(Subset, a["subset"]),
        min(a["n_subset"], a["n_sequences"]),
        a["n_allocations"],
        a["divergence_weight"],
        a["dtype"],
        a["batch_size"],
        a["seed"],
    )
    goal = Goal(a["low"], a["high"], pareto=True) if a["pareto"] else Goal.at(a["target"])
    space = SpaceSpec(_choice(Layout, a["space"]), a["rank_step"], tuple(a["tied"]), tuple(a["dense"]))
    return objective, goal, space


def search_title(arguments: Mapping[str, Any], model: str) -> str:
    """Return what a person calls the job."""
    a = _with_defaults({k: v for k, v in arguments.items() if k != "analysis"}, SEARCH_DEFAULTS)
    what = f"sizes {a['low']:g} to {a['high']:g}" if a["pareto"] else f"at most {a['target']:g} kept"
    return f"Search maps of {model}: {what}, {a['trials']} trials"


def evaluation_title(arguments: Mapping[str, Any]) -> str:
    """Return what a person calls the job."""
    from engine.rank_map.document import parse_rank_map

    maps = [parse_rank_map(text.encode()) for text in arguments["rank_maps"]]
    what = f"one {maps[0].method} map" if len(maps) == 1 else f"{len(maps)} maps"
    return f"Measure {what} of {maps[0].model_name}"


def known_analysis(arguments: Mapping[str, Any]) -> str | None:
    """Return the id of the analysis these arguments describe if it is stored and can be told at once."""
    from engine.model.sources import corpus_fingerprint, known_model_fingerprint
    from engine.pipeline.keys import analysis_key

    spec = analysis_spec(arguments)
    model = known_model_fingerprint(spec.model)
    if model is None:
        return None
    key = analysis_key(spec, model, corpus_fingerprint(spec.corpus))
    return key.fingerprint if key in home().store else None
