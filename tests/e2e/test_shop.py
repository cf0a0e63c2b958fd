"""The example shop as it is started, and visited with a browser."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.supervisor import free_port

pytestmark = pytest.mark.slow

SERVE = Path(__file__).parents[2] / "examples" / "shop" / "serve.py"
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def shop(
    new_context: Callable[..., Any], processes_of: Callable[[str], list[int]], eventually: Callable[..., Any]
) -> Iterator[str]:
    """The address of the running shop; without a browser it is not started."""
    with tempfile.TemporaryDirectory(prefix="hr-") as directory:  # short: a socket lies in it
        words = [sys.executable, str(SERVE), "--port", str(free_port()), "--api-port", str(free_port())]
        environment = {**os.environ, "TMPDIR": directory}
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("the shop is open: ")
        yield said.split()[4]
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 0
        eventually(lambda: processes_of(directory) == [])


@pytest.fixture
def visit(new_context: Callable[..., Any], shop: str) -> Iterator[Callable[..., Any]]:
    """Open the shop in a fresh profile; at the end, no page may have said anything in its console."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def opened(viewport: dict[str, int]) -> Any:
        contexts.append(new_context(viewport=viewport))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(shop)
        tab.wait_for_selector("article")
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def shown(tab: Any) -> list[str]:
    ids: list[str] = tab.eval_on_selector_all("article", "(all) => all.map((one) => one.dataset.itemId)")
    return ids


def test_a_look_at_an_item_changes_what_the_shop_suggests(visit: Callable[..., Any]) -> None:
    tab = visit(DESKTOP)
    with tab.expect_response("**/v1/recommendations?*"):
        tab.get_by_role("switch", name="Personal suggestions").check()
    before = shown(tab)
    clicked = lambda one: "/v1/events" in one.url and '"click"' in (one.request.post_data or "")  # noqa: E731
    with tab.expect_response(clicked) as logged:  # what was seen before may be told apart
        tab.locator("article a").first.focus()
        tab.keyboard.press("Enter")
    tab.wait_for_selector("#item h1")

    assert logged.value.status == 202
    told = logged.value.request.post_data_json["events"]
    (click,) = [event for event in told if event["event_type"] == "click"]
    assert (click["item_id"], click["position"]) == (before[0], 1)
    assert tab.url.endswith(f"#{before[0]}")
    tab.get_by_role("link", name="Tailrace").click()
    tab.get_by_text("are new since you looked at").wait_for()
    assert shown(tab) != before
    assert tab.evaluate("document.activeElement.id") == "title"


def test_without_consent_the_shop_suggests_and_logs_nothing(visit: Callable[..., Any]) -> None:
    tab = visit(DESKTOP)
    sent: list[str] = []
    tab.on("request", lambda request: sent.append(request.url.partition("?")[0].rpartition("/")[2]))
    tab.locator("article a").first.click()
    tab.wait_for_selector("#item h1")
    tab.get_by_role("link", name="Tailrace").click()
    tab.wait_for_function("document.querySelectorAll('article').length === 12")

    assert set(sent) == {"recommendations"}
    assert not tab.evaluate("Object.keys(localStorage).some((key) => key.startsWith('headrace'))")


def test_the_shop_fits_a_phone(visit: Callable[..., Any]) -> None:
    tab = visit(PHONE)

    assert tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    heights = tab.eval_on_selector_all("button, .consent", "(all) => all.map((one) => one.offsetHeight)")
    assert min(heights) >= 44  # large enough for a finger
