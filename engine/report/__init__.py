"""One self-contained HTML page about one rank map, for people who do not run RankScope; free of torch and the store."""

from engine.report._content import ReportContent, TextSample
from engine.report._headline import by_use
from engine.report._page import render_report
from engine.report._provenance import Source, sources

__all__ = ["ReportContent", "Source", "TextSample", "by_use", "render_report", "sources"]
