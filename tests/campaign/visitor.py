"""One visitor of a dashboard: a session of its own over a websocket, as a browser has it."""

from __future__ import annotations

import hashlib
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

if TYPE_CHECKING:
    from streamlit.proto.Element_pb2 import Element

SLIDER = "Budget: kept fraction"
LIMIT_S = 120.0
_LARGEST_MESSAGE = 2**28


class State(NamedTuple):
    """What a visitor looks at.

    Attributes:
        page: its address.
        analysis: id.
        keep: budget, as a kept fraction.
        method: whose map is shown.
    """

    page: str
    analysis: str
    keep: float
    method: str

    @property
    def query(self) -> str:
        """The address of the state within its page."""
        return urlencode({"analysis": self.analysis[:12], "keep": f"{self.keep:g}", "method": self.method})


class Visitor:
    """A session; closed when its context is left.

    Args:
        address: of the dashboard.
    """

    def __init__(self, address: str) -> None:
        url = address.replace("http://", "ws://") + "/_stcore/stream"
        self._socket = connect(
            url, origin=address, subprotocols=["streamlit"], max_size=_LARGEST_MESSAGE, open_timeout=LIMIT_S
        )
        self._slider = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def open(self, state: State) -> dict[str, str]:
        """Go to an address; return what the page shows, by place.

        Raises:
            TimeoutError: the page is not drawn in time.
        """
        return self._run(state, {})

    def move(self, state: State, keep: float) -> dict[str, str]:
        """Move the budget of the Playground, while the address still says what it was; return what the page shows.

        Raises:
            TimeoutError: the page is not drawn in time.
        """
        return self._run(state, {self._slider: 100 * keep})

    def _run(self, state: State, moved: dict[str, float]) -> dict[str, str]:
        asked = BackMsg()
        asked.rerun_script.query_string = state.query
        asked.rerun_script.page_name = state.page
        for widget, value in moved.items():
            one = asked.rerun_script.widget_states.widgets.add(id=widget)
            one.double_array_value.data.append(value)
        self._socket.send(asked.SerializeToString())
        shown: dict[str, str] = {}
        while True:
            told = ForwardMsg.FromString(self._socket.recv(LIMIT_S))
            kind = told.WhichOneof("type")
            if kind == "new_session":
                shown.clear()
            elif kind == "delta" and told.delta.WhichOneof("type") == "new_element":
                self._note(told.delta.new_element)
                if text := _shown(told.delta.new_element):
                    shown[".".join(map(str, told.metadata.delta_path))] = text
            elif kind == "script_finished" and told.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                return shown

    def _note(self, element: Element) -> None:
        if element.WhichOneof("type") == "slider" and element.slider.label.startswith(SLIDER):
            self._slider = element.slider.id


def _shown(element: Element) -> str:
    """Return what a person reads of an element; tables and charts by the hash of their content."""
    match element.WhichOneof("type"):
        case "markdown" | "heading" | "alert" | "text" as kind:
            return str(getattr(element, kind).body)
        case "metric":
            return " ".join((element.metric.label, element.metric.body, element.metric.delta))
        case "exception":
            return f"exception: {element.exception.type} {element.exception.message}"
        case "arrow_data_frame":
            return hashlib.sha256(element.arrow_data_frame.data).hexdigest()
        case "plotly_chart":
            return hashlib.sha256(element.plotly_chart.spec.encode()).hexdigest()
    return ""
