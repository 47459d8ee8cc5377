"""What a map would cost on a device, on Allocation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.devices.known import MEASURED_TYPES, write_measured
from engine.devices.value import Device, presets
from engine.settings import Home
from tests.app.test_views import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    Open = Callable[..., AppTest]


def test_the_tab_says_whether_a_map_will_be_faster_and_what_the_cache_takes(
    open_page: Open, analysed_home: Path
) -> None:
    page = open_page("allocation", keep="0.6", tab="On a device")
    assert not page.exception
    devices = page.selectbox(key="device.name")
    assert devices.options == [device.title for device in presets().values()]
    assert "the time of the dense model for a token" in shown(page)
    assert "bytes a token, the same for both" in shown(page)
    assert "rankscope devices --measure" in shown(page)
    before = list(page.dataframe[0].value["Cache"])
    page.number_input(key="device.context").set_value(4096)
    page.run()
    assert list(page.dataframe[0].value["Cache"]) != before


def test_a_measured_machine_is_among_the_devices(open_page: Open, analysed_home: Path) -> None:
    own = Device("this machine, made up", 1e9, 1e9, 1e9, 1e-6, "made up")
    write_measured(Home(analysed_home), dict.fromkeys(MEASURED_TYPES, own))
    page = open_page("allocation", keep="0.6", tab="On a device")
    assert page.selectbox(key="device.name").options[0] == own.title
    assert "rankscope devices --measure" not in shown(page)
