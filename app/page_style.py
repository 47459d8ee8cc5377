"""Less empty space on every page than Streamlit leaves, from the first frame on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.page_script import SCRIPT
from app.whole_answers import send_changed

if TYPE_CHECKING:
    from starlette.datastructures import MutableHeaders
    from starlette.types import ASGIApp, Receive, Scope, Send

WIDTHS: Final = (340, 400, 640)
"""In pixels, that parts of a page beside each other can have at least."""

WAITING: Final = {"weighting": 275, "summary": 332, "colours": 267, "relative": 118, "lines": 580, "recommended": 108}
"""Pixels of inputs in a row, by key, that Streamlit holds no width for until it has loaded them."""

_BESIDE: Final = "\n".join(
    f'div:has(> [class*="st-key-beside-{width}-"]) {{ flex: {width} 1 {width}px; min-width: 0; }}' for width in WIDTHS
)
_LOADING: Final = "\n".join(
    f'.st-key-{key}:has([data-testid="stSkeleton"]) {{ min-width: {width}px; }}' for key, width in WAITING.items()
)
_STYLE: Final = """<style>
/* Streamlit draws a narrow page before the script has said that it is wide. */
.stMainBlockContainer.stMainBlockContainer { padding-top: 4.5rem; padding-bottom: 4rem; max-width: none; }
@media (min-width: 864px) { .stMainBlockContainer.stMainBlockContainer { padding-left: 5rem; padding-right: 5rem; } }
.stHeading.stHeading h1 { padding: 0.25rem 0; }
/* The rank board is drawn by a script: what is below it waits where it will be. */
[class*="st-key-board-"]:not([class*="-curves"], :has(.rb-root)) { min-height: 697px; }
[class*="st-key-overview-"]:not([class*="-curves"], :has(.ov-root)) { min-height: 562px; }
/* What only hands curves to them takes no place. */
.stElementContainer[class*="-curves"] { position: absolute; }
/* Streamlit loads an input after the page, and holds a place for it without its label. */
[class*="st-key-inputs-fields-"] [data-testid="stSkeleton"] { height: 4.25rem; }
[class*="st-key-inputs-options-"] [data-testid="stSkeleton"] { height: 3.75rem; }
[class*="st-key-prompt-"] > [data-testid="stSkeleton"] { height: 100px; }
:is(.st-key-budget, .st-key-method-picked, .st-key-preset) > [data-testid="stSkeleton"] { height: 68px; }
:is(.st-key-progressive, .st-key-relative, [class*="st-key-chat-"]) > [data-testid="stSkeleton"] { height: 32px; }
.st-key-ask.st-key-ask { min-width: 93px; }
.st-key-stop.st-key-stop { min-width: 77px; }
[class*="st-key-numbers-"] [data-testid="stSkeleton"] { height: 53.7px; }
[class*="st-key-tiles-"] [data-testid="stSkeleton"] { height: 6.75rem; }
/* Charts that are drawn after what stands below them. */
.st-key-beside-400-spectra-0:not(:has(.js-plotly-plot)) { min-height: 500px; }
[class*="st-key-chart-"]:not(:has(.js-plotly-plot, .stAlert)) { min-height: 436px; }
@media (max-width: 1100px) {
  [class*="st-key-overview-"]:not([class*="-curves"], :has(.ov-root)) { min-height: 636px; }
  [class*="st-key-board-"]:not([class*="-curves"], :has(.rb-root)) { min-height: 870px; }
}
/* Streamlit's captions are too pale for both themes, and the primary colour as text is too dark for the dark one. */
.stApp [data-testid="stCaptionContainer"], [data-testid="stPopoverBody"] [data-testid="stCaptionContainer"],
[role="dialog"] [data-testid="stCaptionContainer"] { opacity: 0.75; }
.stButtonGroup button[role="radio"][aria-checked="true"], .stTabs [data-testid="stTab"][aria-selected="true"],
.stSlider [data-testid="stSliderThumbValue"] { color: color-mix(in srgb, #0b857a 65%, currentColor); }
[data-testid="stLayoutWrapper"]:has(.st-key-glossary) { position: absolute; }
.st-key-glossary.st-key-glossary { position: fixed; top: 0.7rem; right: 3.4rem; width: auto; z-index: 999991; }
.st-key-glossary-open button { min-height: 2rem; width: 2rem; padding: 0; border-radius: 50%; }
@media (max-width: 1100px) {
  .st-key-presentation { display: none; }
}
"""
STYLE: Final = f"{_STYLE}{_BESIDE}\n{_LOADING}\n</style>\n".encode()

_DEPENDS_ON_CONTENT: Final = (b"accept-encoding", b"if-none-match", b"if-modified-since")


class StyledPage:
    """Put the style and the script into the head of the dashboard's HTML page.

    What a script's run sends arrives after the first elements are drawn, which would then move.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or connection."""
        if scope["type"] != "http" or scope["method"] != "GET" or not _asks_for_a_page(scope):
            await self._app(scope, receive, send)
            return

        async def style(_status: int, headers: MutableHeaders, content: bytes) -> bytes:
            del headers["ETag"], headers["Last-Modified"]
            return content.replace(b"<head>", b"<head>" + SCRIPT, 1).replace(b"</head>", STYLE + b"</head>", 1)

        headers = [(name, value) for name, value in scope["headers"] if name not in _DEPENDS_ON_CONTENT]
        await send_changed(self._app, {**scope, "headers": headers}, receive, send, style)


def _asks_for_a_page(scope: Scope) -> bool:
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])
