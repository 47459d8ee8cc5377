"""Whether texts can be read: the contrast of each with what is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.app.test_colours import AA
from tests.support.running_app import settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard

PALE = """least => {
  const parts = colour => {
    const numbers = colour.match(/[\\d.]+/g).map(Number);
    const scale = colour.startsWith("color(") ? 255 : 1;
    return [...numbers.slice(0, 3).map(part => part * scale), numbers[3] ?? 1];
  };
  const over = (above, below) => [0, 1, 2].map(i => above[i] * above[3] + below[i] * (1 - above[3]));
  const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const luminance = colour => [0.2126, 0.7152, 0.0722].reduce((sum, by, i) => sum + by * linear(colour[i] / 255), 0);
  const contrastOf = element => {
    const behind = [];
    let opacity = 1;
    // The value of a slider stands above its thumb.
    const start = element.closest(".stSlider") ?? element;
    for (let one = element; one; one = one.parentElement) opacity *= Number(getComputedStyle(one).opacity);
    for (let one = start; one; one = one.parentElement) behind.push(parts(getComputedStyle(one).backgroundColor));
    const page = behind.reverse().reduce((below, above) => over(above, below), [255, 255, 255]);
    const [red, green, blue, alpha] = parts(getComputedStyle(element).color);
    const both = [luminance(over([red, green, blue, alpha * opacity], page)), luminance(page)];
    const [dark, light] = both.sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const pale = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const said = texts.currentNode.textContent.trim();
    if (!said || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest("style, script, svg, :disabled, [aria-disabled=true], [data-testid=stIconMaterial]")) continue;
    const contrast = contrastOf(element);
    if (contrast < least) pale.push([said, contrast]);
  }
  return pale;
}"""
"""What is said with less contrast than given, outside of drawings."""


def test_every_text_of_the_board_can_be_read_in_the_dark(page: Page, dashboard: Dashboard) -> None:
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.goto(f"{dashboard.address}/allocation")
    settled(page)
    page.locator(".rb-root[data-ready=true]").wait_for()
    assert page.evaluate(PALE, AA) == []
