"""The client for browsers in a real one, against a running API on another origin; the page's clock is the test's."""

from __future__ import annotations

import http.server
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import uvicorn

from headrace.supervisor import free_port
from online.core.example import decode_example, outcomes_of
from online.core.join import SLATES, JoinFold
from online.core.partition import EVENTS
from online.ports import Batch, Message
from schemas.event import Event, EventItem, decode_event, encode_event
from schemas.identity import Identity, Merge, decode_identity
from schemas.slate import Slate, encode_slate

CLIENT = Path(__file__).parents[2] / "serving" / "static" / "headrace.js"
SHOP = """<!doctype html><title>Shop</title><style>[data-item-id] { display: block; height: 200px }</style>
<div style="height: BEFOREpx"></div><main></main><div style="height: 3000px"></div>"""
START = """async ([url, options]) => {
  const { Headrace } = await import(options.api ? "/headrace.js" : `${url}/client/headrace.js`);
  window.headrace = new Headrace(options);
}"""
NOTE_BEACONS = """const send = navigator.sendBeacon.bind(navigator);
navigator.sendBeacon = (url, body) => {
  sessionStorage.beacons = JSON.stringify([...JSON.parse(sessionStorage.beacons ?? "[]"), url]);
  return send(url, body);
};"""
SHOW = """async (ask) => {
  const main = document.querySelector("main");
  const slate = await headrace.recommend(ask);
  main.innerHTML = slate.items.map(({ item_id }) =>
    `<a href="#" data-item-id="${item_id}">${item_id} <button data-event="add_to_cart">+</button></a>`).join("");
  headrace.observe(main, slate);
  return slate;
}"""
Wait = Callable[..., Any]


class Api:
    """The API on a port, to be stopped and started again."""

    def __init__(self, system: Any) -> None:
        self.system, self.port = system, free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    is_running = False

    def start(self) -> None:
        config = uvicorn.Config(
            self.system.edge, port=self.port, lifespan="off", log_level="error", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        self.is_running = True

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.is_running = False

    def said(self) -> list[Event | Identity]:
        """Return what was kept."""
        payloads = self.system.payloads(EVENTS)
        return [decode_identity(one) if b'"merge"' in one else decode_event(one) for one in payloads]


class Page:
    """A page of the shop, whose clock stands still unless it is told to run."""

    def __init__(self, context: Any, site: str, api: Api) -> None:
        self.tab, self._site, self._api = context.new_page(), site, api
        self._name = uuid4().hex
        began = time.time() - 600.0
        self.tab.clock.install(time=began)
        self.tab.clock.pause_at(began + 1.0)
        self.sent: list[str] = []  # paths; what a page sends while it is left is not told
        self.tab.on("request", lambda one: one.method == "POST" and self.sent.append(one.url.removeprefix(api.url)))
        self.tab.add_init_script(NOTE_BEACONS)

    def open(self, *, before: int = 0, from_api: bool = False, **options: Any) -> None:
        """Open the page, its slates after so many pixels."""
        self.tab.goto(f"{self._site}/{before}")
        where = {} if from_api else {"api": self._api.url}
        self.tab.evaluate(
            START, [self._api.url, {"consent": True, "context": {"name": self._name}, **where, **options}]
        )
        self.tab.clock.run_for(1)  # it sends what an earlier page has left

    def kept(self, kind: str = "") -> list[Event]:
        """Return what the API has kept of its events, oldest first."""
        events = [one for one in self._api.said() if isinstance(one, Event)]
        own = [one for one in events if one.context.get("name") == self._name and kind in ("", one.event_type)]
        return sorted(own, key=lambda event: event.event_id)

    def run(self, seconds: float) -> None:
        """Let time pass, and what it has set off come to rest."""
        self.paint()
        self.tab.clock.run_for(round(seconds * 1000))
        self.tab.evaluate("headrace.flush()")

    def paint(self) -> None:
        """Wait for the frames after which observers have told what is visible."""
        self.tab.evaluate(
            "new Promise((done) => { const ours = new MessageChannel(); ours.port1.onmessage = done;"
            " new IntersectionObserver(() => ours.port2.postMessage(0)).observe(document.body); })"
        )

    def show(self, **ask: Any) -> dict[str, Any]:
        slate: dict[str, Any] = self.tab.evaluate(SHOW, {"n": 3, **ask})
        return slate

    def call(self, method: str, *arguments: Any) -> Any:
        return self.tab.evaluate(f"(given) => headrace.{method}(...given)", arguments)

    def beacons(self) -> list[str]:
        """Return the paths of the beacons that pages of this tab have sent."""
        self.tab.goto(self._site)
        sent: list[str] = self.tab.evaluate("JSON.parse(sessionStorage.beacons ?? '[]')")
        return [url.removeprefix(self._api.url) for url in sent]

    def hide(self, hidden: bool) -> None:
        self.tab.evaluate(
            "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
            " document.dispatchEvent(new Event('visibilitychange')); }",
            hidden,
        )

    def stored(self) -> list[str]:
        kept: list[str] = self.tab.evaluate("Object.keys(localStorage).sort()")
        return kept


class _Site(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        is_script = self.path == "/headrace.js"
        page = CLIENT.read_bytes() if is_script else SHOP.replace("BEFORE", self.path[1:]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if is_script else "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *words: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The shop's own web server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def shop_system(serve_for: Callable[..., Any], site: str) -> Iterator[Any]:
    with serve_for(allowed_origins=(site,)) as system:
        system.put_items(*(f"shoe-{n}" for n in range(12)), categories=["shoes"], brand="acme", price=50.0)
        yield system


@pytest.fixture(scope="module")
def running_api(shop_system: Any) -> Iterator[Api]:
    api = Api(shop_system)
    api.start()
    yield api
    api.stop()


@pytest.fixture
def api(running_api: Api) -> Iterator[Api]:
    """The running API; a test may stop it."""
    yield running_api
    if not running_api.is_running:
        running_api.start()


@pytest.fixture
def page(new_context: Callable[..., Any], site: str, api: Api) -> Iterator[Page]:
    context = new_context(viewport={"width": 400, "height": 700})
    yield Page(context, site, api)
    context.close()


def shown(slate: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in slate["items"]]


def test_an_item_is_seen_once_half_of_it_was_visible_for_a_second(page: Page) -> None:
    page.open(before=700 - 2 * 200 - 90)  # two cards and less than half of the third
    slate = page.show()

    page.run(0.9)
    page.run(1.0)  # what is tracked is sent within a second
    first = page.kept()
    page.run(60.0)
    page.tab.mouse.wheel(0, 30)
    page.run(2.1)

    assert [[item.item_id for item in one.items] for one in first] == [shown(slate)[:2]]
    last = page.kept()[-1]
    assert [(item.item_id, item.position) for item in last.items] == [(shown(slate)[2], 3)]
    assert [one.event_type for one in page.kept()] == ["impression", "impression"]
    assert {one.recommendation_id for one in page.kept()} == {slate["recommendation_id"]}
    assert {one.surface for one in page.kept()} == {"home"}


def test_an_item_that_leaves_the_view_within_a_second_is_not_seen(page: Page) -> None:
    page.open(before=650)
    page.show()

    page.tab.mouse.wheel(0, 300)
    page.run(0.9)
    page.tab.mouse.wheel(0, -300)
    page.run(5.0)

    assert page.kept() == []


def test_a_hidden_page_shows_nothing_until_it_is_back_for_a_second(page: Page) -> None:
    page.open()
    page.show()
    page.run(0.9)

    page.hide(True)
    page.run(10.0)
    hidden = page.kept()
    page.hide(False)
    page.run(0.9)
    page.run(1.1)

    assert hidden == []
    assert [len(one.items) for one in page.kept("impression")] == [3]


def test_impressions_and_clicks_join_their_slate(page: Page, api: Api, eventually: Wait) -> None:
    page.open()
    slate = page.show()
    page.run(1.0)
    page.tab.locator("[data-item-id] >> nth=1").click(position={"x": 5, "y": 150})
    page.tab.locator("[data-item-id] >> nth=2").locator("button").click()
    page.run(1.0)

    click, cart = page.kept("click")[0], page.kept("add_to_cart")[0]
    assert [(one.item_id, one.position) for one in click.items] == [(shown(slate)[1], 2)]
    assert [(one.item_id, one.position) for one in cart.items] == [(shown(slate)[2], 3)]
    logged = eventually(lambda: api.system.logged_slates().get(slate["recommendation_id"]))
    example = joined(logged, page.kept())
    assert (example.positions, example.clicked, list(outcomes_of(example))) == (
        [1, 2, 3],
        [False, True, True],
        [0, 1, 3],
    )
    assert example.device == "desktop"


def joined(slate: Slate, events: list[Event]) -> Any:
    """Return the example that a slate becomes once its window of a second has closed."""
    fold = JoinFold(slate.partition, {}, window_s=1.0)
    end = Event(
        event_id="end",
        event_type="view",
        timestamp=slate.time + 9.0,
        received_at=slate.time + 9.0,
        visitor_id="another",
        items=[EventItem("shoe-1")],
    )
    batches = {SLATES: [encode_slate(slate)], EVENTS: [encode_event(one) for one in (*events, end)]}
    outbox = [
        out
        for topic, payloads in batches.items()
        for out in fold.fold(Batch(topic, slate.partition, [Message("1-0", one) for one in payloads]), 1).outbox
    ]
    ((_, _, payload),) = outbox
    return decode_example(payload)


def test_a_click_is_sent_before_the_slate_that_is_asked_for_next(page: Page, eventually: Wait) -> None:
    page.open()
    before = page.show()
    page.tab.locator("[data-item-id] >> nth=0").click(position={"x": 5, "y": 150})

    after = page.show()

    assert page.sent == ["/v1/recommendations", "/v1/events", "/v1/recommendations"]
    assert [one.event_type for one in page.kept()] == ["click"]
    assert before["state_as_of"]["position"] is None
    eventually(lambda: (after if after["state_as_of"]["position"] else page.show())["state_as_of"]["position"])


def test_how_long_an_item_was_looked_at_leaves_out_when_the_page_was_hidden(page: Page) -> None:
    page.open()
    page.call("view", "shoe-3", {"position": 2})
    page.run(5.0)
    page.hide(True)
    page.run(60.0)
    page.hide(False)
    page.run(2.0)
    page.call("view", None)
    page.run(2.0)

    assert [one.items[0].item_id for one in page.kept("view")] == ["shoe-3"]
    dwells = page.kept("custom")
    assert [round(one.value or 0.0) for one in dwells] == [5, 2]
    assert {(one.items[0].item_id, one.items[0].position) for one in dwells} == {("shoe-3", 2)}
    assert [one.properties for one in dwells] == [{"name": "dwell"}] * 2


def test_events_travel_together_after_a_second_and_at_once_when_they_are_many(page: Page) -> None:
    page.open()
    for number in range(3):
        page.call("track", "view", {"item_id": f"shoe-{number}"})
    page.tab.clock.run_for(900)
    before = list(page.sent)
    page.run(0.2)
    few = list(page.sent)
    page.tab.evaluate("for (let n = 0; n < 60; n++) headrace.track('view', { item_id: 'shoe-1' })")
    page.run(0.01)

    assert (before, few) == ([], ["/v1/events"])
    assert page.sent == ["/v1/events"] * 3
    assert len({one.event_id for one in page.kept()}) == len(page.kept()) == 63


def test_a_reload_while_the_api_is_away_loses_nothing(page: Page, api: Api) -> None:
    page.open()
    api.stop()
    page.call("track", "view", {"item_id": "shoe-1"})
    page.run(1.0)
    page.open()
    page.call("track", "view", {"item_id": "shoe-2"})
    page.run(1.0)
    api.start()

    page.run(10.0)

    assert [one.items[0].item_id for one in page.kept()] == ["shoe-1", "shoe-2"]
    assert not [key for key in page.stored() if key.startswith("headrace:event:")]


def test_what_cannot_be_sent_is_bounded_and_the_newest_stays(page: Page, api: Api) -> None:
    page.open()
    api.stop()
    page.tab.evaluate("for (let n = 1; n <= 1010; n++) headrace.track('rating', { item_id: 'shoe-1', value: n })")

    kept = page.tab.evaluate(
        "Object.keys(localStorage).filter((k) => k.includes(':event:')).sort()"
        ".map((k) => JSON.parse(localStorage[k]).value)"
    )
    assert len(kept) == 1000
    assert set(kept) == set(range(11, 1011))


def test_the_api_is_left_alone_for_as_long_as_it_asks_for(page: Page, api: Api) -> None:
    page.open()
    admission = api.system.worker.admission
    admission.hold(10**9)
    try:
        page.call("track", "view", {"item_id": "shoe-1"})
        with page.tab.expect_response("**/v1/events") as refused:
            page.tab.clock.run_for(1000)
        wait = int(refused.value.headers["retry-after"])
    finally:
        admission.hold(-(10**9))

    page.run(wait - 0.1)
    page.call("track", "view", {"item_id": "shoe-2"})
    page.tab.evaluate("headrace.flush()")
    assert (refused.value.status, page.sent) == (429, ["/v1/events"])
    for _ in range(wait + 1):  # no jump: it would also end the patience with an answer that is on its way
        page.run(1.0)

    assert [one.items[0].item_id for one in page.kept()] == ["shoe-1", "shoe-2"]


def test_a_row_that_is_refused_holds_up_no_other(page: Page) -> None:
    page.open()
    page.call("track", "view", {})  # of no item
    page.call("track", "view", {"item_id": "shoe-1"})
    with page.tab.expect_console_message() as warned:
        page.run(1.0)

    assert "not accepted" in warned.value.text
    assert [one.items[0].item_id for one in page.kept()] == ["shoe-1"]
    assert not [key for key in page.stored() if key.startswith("headrace:event:")]


def test_what_waits_when_a_page_is_left_is_sent_by_beacon(page: Page, eventually: Wait) -> None:
    page.open()
    page.show()
    page.tab.locator("[data-item-id] >> nth=0").click(position={"x": 5, "y": 150})
    page.call("view", "shoe-1")
    page.tab.clock.run_for(500)
    assert page.kept() == []

    page.tab.goto("about:blank")

    eventually(lambda: [one.event_type for one in page.kept()] == ["click", "view"])
    assert (page.sent, page.beacons()) == (["/v1/recommendations"], ["/v1/events"])


def test_what_an_earlier_page_has_sent_by_beacon_is_kept_once(page: Page, eventually: Wait) -> None:
    page.open()
    page.call("track", "view", {"item_id": "shoe-1"})
    page.open()
    page.run(1.0)

    eventually(lambda: len(page.kept()) == 1)
    assert (page.sent, page.beacons()) == (["/v1/events"], ["/v1/events"])
    assert not [key for key in page.stored() if key.startswith("headrace:event:")]


def test_without_consent_nothing_is_stored_and_no_event_sent(page: Page, api: Api) -> None:
    page.open(consent=False)
    slate = page.show()
    page.tab.locator("[data-item-id] >> nth=0").click(position={"x": 5, "y": 150})
    page.call("view", "shoe-1")
    page.call("identify", "someone")
    page.run(10.0)
    page.tab.goto("about:blank")

    assert len(slate["items"]) == 3
    assert page.sent == ["/v1/recommendations"]
    assert page.kept() == []
    assert not [one for one in api.said() if isinstance(one, Merge) and one.user_id == "someone"]
    assert page.beacons() == []
    assert page.stored() == []


def test_a_stranger_is_a_new_one_at_every_request(page: Page, api: Api, eventually: Wait) -> None:
    page.open(consent=False)

    slates = [page.show()["recommendation_id"] for _ in range(2)]

    eventually(lambda: {*slates} <= api.system.logged_slates().keys())
    keys = {api.system.logged_slates()[one].user_key for one in slates}
    assert len(keys) == 2
    assert all(str(key).startswith("vstranger-") for key in keys)


def test_with_consent_withdrawn_what_waits_is_dropped(page: Page) -> None:
    page.open()
    page.call("track", "view", {"item_id": "shoe-1"})
    assert len(page.stored()) == 2

    page.call("setConsent", False)
    page.run(10.0)

    assert page.stored() == []
    assert page.kept() == []
    page.call("setConsent", True)
    page.call("track", "view", {"item_id": "shoe-2"})
    page.run(1.0)
    assert [one.items[0].item_id for one in page.kept()] == ["shoe-2"]


def test_a_visitor_that_logs_in_is_merged_once_and_another_visitor_once_logged_out(page: Page, api: Api) -> None:
    user = f"member {uuid4().hex}"
    page.open()
    page.call("track", "view", {"item_id": "shoe-1"})
    page.call("identify", user)
    page.call("track", "view", {"item_id": "shoe-2"})
    page.run(1.0)
    page.open()
    page.call("identify", user)
    page.run(1.0)
    page.call("identify", None)
    page.call("track", "view", {"item_id": "shoe-3"})
    page.run(1.0)

    before, after, other = page.kept()
    merges = [(one.user_id, one.visitor_id) for one in api.said() if isinstance(one, Merge) and one.user_id == user]
    assert merges == [(user, before.visitor_id)]
    assert (before.user_id, after.user_id, other.user_id) == (None, user, None)
    assert before.visitor_id == after.visitor_id != other.visitor_id


def test_who_logged_in_before_giving_consent_is_merged_with_it(page: Page, api: Api) -> None:
    user = f"member {uuid4().hex}"
    page.open(consent=False)
    page.call("identify", user)
    page.call("setConsent", True)
    page.call("track", "view", {"item_id": "shoe-1"})
    page.run(1.0)

    (view,) = page.kept()
    merges = [(one.user_id, one.visitor_id) for one in api.said() if isinstance(one, Merge) and one.user_id == user]
    assert merges == [(user, view.visitor_id)]
    assert view.user_id == user


def test_the_module_that_the_api_serves_asks_that_api(page: Page) -> None:
    page.open(from_api=True)
    page.show()
    page.call("track", "view", {"item_id": "shoe-1"})
    page.run(1.0)

    assert len(page.kept("view")) == 1


def test_where_storage_is_refused_events_are_sent_all_the_same(page: Page) -> None:
    page.tab.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked') } })")
    page.open()
    for item in ("shoe-1", "shoe-2"):
        page.call("track", "view", {"item_id": item})
    page.run(1.0)

    assert len(page.kept()) == 2
    assert len({one.visitor_id for one in page.kept()}) == 1
