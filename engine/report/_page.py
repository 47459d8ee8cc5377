"""The page: content into words, tables and drawings, and those into HTML; everything from outside is escaped."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from engine.report._content import ReportContent
from engine.report._headline import headline, tiles
from engine.report._provenance import provenance
from engine.report._quality import quality_section
from engine.report._rank_map_chart import rank_map_chart
from engine.report._scores import rouge_rows, task_rows
from engine.report._tables import cost_rows, perplexity_rows, rank_rows, refined_rows
from engine.results.glossary import REPORT_TERMS
from engine.results.rounding import sizes_in_words
from engine.results.words import REFINEMENTS, TIMES, method_title


def render_report(content: ReportContent) -> str:
    """Return the report as one HTML document that asks for nothing from anywhere."""
    row, dense = content.row, content.dense
    page = (
        _environment()
        .get_template("report.html")
        .render(
            content=content,
            title=method_title(content.rank_map.method),
            headline=headline(content),
            tiles=tiles(content),
            quality=quality_section(content),
            sizes=sizes_in_words(row),
            dense_sizes=sizes_in_words(dense),
            rank_map=rank_map_chart(content.rank_map, content.analysis.inventory),
            ranks=rank_rows(content),
            perplexities=perplexity_rows(content),
            tasks=task_rows(row, dense),
            rouges=rouge_rows(row, dense),
            costs=cost_rows(row, dense),
            refined=refined_rows(content.refined),
            refinements=REFINEMENTS,
            provenance=provenance(content),
            terms=REPORT_TERMS,
        )
    )
    return page.replace(f" {TIMES}", f"\u00a0{TIMES}")  # no line ends between a number and its sign


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("engine.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
