"""``rankscope spectra``: a summary of every block's spectrum."""

from __future__ import annotations

import typer
from rich.table import Table

from engine.cli._console import (
    AnalysisId,
    AsJson,
    MetricName,
    artifact_store,
    out,
    print_json,
)
from engine.errors import InvalidSpecError
from engine.types import Metric


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope spectra 3f2a --metric loss")(spectra)


def spectra(analysis_id: AnalysisId, metric: MetricName = "loss", as_json: AsJson = False) -> None:
    """Summarise the spectrum of every block."""
    from engine.analysis.curves import summarise_spectrum
    from engine.pipeline.reading.analyses import load_analysis

    analysis = load_analysis(artifact_store(), analysis_id)
    chosen = _metric(metric)
    rows = {name: summarise_spectrum(energies) for name, energies in analysis.energies[chosen].items()}
    if as_json:
        print_json(
            {
                "analysis": analysis.id,
                "metric": chosen,
                "blocks": [
                    {
                        "projections": name.split("+"),
                        "full_rank": s.full_rank,
                        "effective_rank": s.effective_rank,
                        "stable_rank": s.stable_rank,
                        "rank_99": s.rank_99,
                        "energies": analysis.energies[chosen][name].tolist(),
                    }
                    for name, s in rows.items()
                ],
            }
        )
        return
    table = Table("block", "full rank", "effective rank", "stable rank", "rank at 99 % energy")
    for name, s in rows.items():
        table.add_row(name, str(s.full_rank), f"{s.effective_rank:.1f}", f"{s.stable_rank:.2f}", str(s.rank_99))
    out.print(table)


def _metric(name: str) -> Metric:
    if name not in list(Metric):
        raise InvalidSpecError(f"The metric {name!r} does not exist; expected one of {', '.join(Metric)}.")
    return Metric(name)
