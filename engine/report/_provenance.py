"""Where every number of a report comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.results.words import REFINEMENTS, duration

if TYPE_CHECKING:
    from engine.report._content import ReportContent
    from engine.results.rows import Provenance, ResultRow


class Source(NamedTuple):
    """One measurement."""

    what: str
    on: str
    how: str
    when: str
    data: str
    artifact: str


class ReportProvenance(NamedTuple):
    """What all numbers share, and where each comes from."""

    shared: list[tuple[str, str]]
    sources: list[Source]


def provenance(content: ReportContent) -> ReportProvenance:
    """Return the provenance of this map's numbers, refined ones included."""
    about = content.analysis.about
    spec = about["spec"]
    text = spec["corpus"]
    found = [pair for row in (content.row, *content.refined) for pair in sources(row)]
    versions = {name: version for _, one in found for name, version in one.versions.items()}
    shared = [
        ("Model", about["model"]),
        ("Model fingerprint (SHA-256)", about["model_fingerprint"]),
        ("Model revision", spec["model"].get("revision") or "none was named"),
        ("Analysis", content.analysis.id),
        ("Calibration text", f"{about['corpus']}, {text['n_sequences']} × {text['length']} tokens"),
        ("Every sequence begins with", ", ".join(about.get("text_start", ())) or "no token of the tokenizer's own"),
        ("Seed of the analysis", str(spec["calibration"]["seed"])),
        ("Rank map made by", f"{content.rank_map.method}, factors in the {content.rank_map.metric} metric"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in (versions or about["versions"]).items())),
    ]
    return ReportProvenance(shared, [s for s, _ in found])


def sources(row: ResultRow) -> list[tuple[Source, Provenance]]:
    """Return a line per measurement of a row, with all that is known of where it comes from."""
    factors = "" if row.refinement is None else f", factors {REFINEMENTS[row.refinement]}"
    found = [(f"Perplexity{factors}", f"{p.text_title}, {p.n_tokens:,} tokens", p.provenance) for p in row.perplexities]
    found += [("Zero-shot accuracy", f"{t.task}, {t.n:,} of {t.n_available:,} items", t.provenance) for t in row.tasks]
    found += [("ROUGE", f"{s.text}, {s.n:,} articles", s.provenance) for s in row.summaries]
    found += [
        ("Speed and multiply-adds", f"{c.prompt_tokens} + {c.new_tokens} tokens", c.provenance) for c in row.costs
    ]
    found += [("Peak memory", f"{m.n_tokens:,} tokens", m.provenance) for m in row.memories]
    return [(_source(what, on, one), one) for what, on, one in found]


def _source(what: str, on: str, one: Provenance) -> Source:
    took = "" if one.seconds is None else f", {duration(one.seconds)}"
    seed = "" if one.seed is None else f", seed {one.seed}"
    stage, _, fingerprint = one.artifact.partition("/")
    data = "" if one.data_fingerprint is None else one.data_fingerprint[:12]
    how = f"{one.dtype}, {one.device}{seed}{took}"
    return Source(what, on, how, one.created[:16].replace("T", " "), data, f"{stage}/{fingerprint[:12]}")
