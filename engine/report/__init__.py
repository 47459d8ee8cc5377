"""One self-contained HTML page about one rank map, for people who do not run RankScope; free of torch and the store."""

from engine.report._content import ReportContent, TextSample
from engine.report._page import render_report

__all__ = ["ReportContent", "TextSample", "render_report"]
