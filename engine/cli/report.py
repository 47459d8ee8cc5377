"""``rankscope report``: one self-contained HTML file about one rank map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli._console import AnalysisId, AsJson, artifact_store, out, print_json, warn_of_unreadable
from engine.cli._files import write_file
from engine.errors import InvalidSpecError

if TYPE_CHECKING:
    from engine.rank_map.document import RankMap
    from engine.report import ReportContent


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: rankscope report 3f2a map.json half.html")(report)


def report(
    analysis_id: AnalysisId,
    rank_map: Annotated[str, typer.Argument(metavar="MAP", help="Rank map: .json, .csv or @NAME.")],
    file: Annotated[Path, typer.Argument(metavar="[OUT.html]", help="Where to write.")] = Path("report.html"),
    as_json: AsJson = False,
) -> None:
    """Write what is known of a rank map as one HTML file that opens anywhere and prints well."""
    from engine.pipeline.reading.analyses import load_analysis
    from engine.rank_map.files import find_rank_map

    _require_page(file)
    analysis = load_analysis(artifact_store(), analysis_id)
    written = write_report(analysis.id, find_rank_map(rank_map, analysis), file)
    warn_of_unreadable()
    if as_json:
        print_json(written)
        return
    measured = "" if written["measured"] else " Nothing of this map was measured yet, so it shows predictions."
    out.print(f"Wrote {file}.{measured}", soft_wrap=True)


def write_report(analysis_id: str, rank_map: RankMap, file: Path) -> dict[str, object]:
    """Write the report of a rank map and return what it says in numbers.

    Raises:
        InvalidSpecError: the file cannot be written.
    """
    from engine.pipeline.report import report_content
    from engine.report import render_report

    content = report_content(artifact_store(), analysis_id, rank_map)
    page = render_report(content)
    write_file(file, page)
    return _described(content, file, len(page.encode()))


def _require_page(file: Path) -> None:
    if file.suffix.lower() not in {".html", ".htm"}:
        raise InvalidSpecError(f"The file {file} was given; expected a name that ends in .html.")


def _described(content: ReportContent, file: Path, n_bytes: int) -> dict[str, object]:
    from engine.report import by_use

    row, forecast = content.row, content.forecast
    return {
        "analysis": content.analysis.id,
        "method": content.rank_map.method,
        "kept_fraction": row.size.kept_fraction,
        "model_mb_float16": row.size.model_bytes["float16"] / 1e6,
        "measured": content.is_measured,
        "perplexity_ratios": {one.text: one.ratio for one in reversed(by_use(content))},
        "predicted_perplexity_ratio": forecast.perplexity,
        "predicted_perplexity_ratio_low": forecast.low,
        "predicted_perplexity_ratio_high": forecast.high,
        "prediction_text": None if content.forecast_text is None else content.forecast_text.name,
        "out": str(file),
        "bytes": n_bytes,
    }
