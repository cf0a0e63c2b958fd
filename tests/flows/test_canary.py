from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from example_canary import own_database, record_arm

from flows.canary import Steward
from flows.state import control_view
from flows.view import adopt_all
from online.connect import open_warehouse
from online.control.canary import CANARY, CanaryDocument, CanaryIn, started
from online.control.control import BUILT_IN, Control
from online.control.surface import SURFACE
from online.core.control import CONTROL
from online.core.steward import STEWARD, decode_words
from online.ports import Warehouse
from schemas.control import ControlChange, decode_change, encode_change

T0 = 1_700_000_000.0


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    with own_database(warehouse_url) as own:
        yield own


class Shop:
    """A control topic that is folded, and a steward at a time of the test's."""

    def __init__(self, log: Any, state: Any, warehouse: Warehouse) -> None:
        self.log, self.state, self.now = log, state, T0
        (self._view,) = adopt_all([control_view(state=state, log=log)])
        self._after = ""
        self.control: Control = BUILT_IN
        self.steward = Steward(
            control=BUILT_IN, state=state, log=log, warehouse=warehouse, member="m", clock=lambda: self.now
        )

    def write(self, kind: str, document_id: str, document: dict[str, Any]) -> None:
        revision = self.control.entry(kind, document_id).revision + 1
        change = ControlChange(kind=kind, id=document_id, revision=revision, document=document, by="me", at=self.now)
        self.log.append(CONTROL, [(0, encode_change(change))])
        self.fold()

    def start(self, **said: Any) -> None:
        asked = CanaryIn(policy="greedy-1", **{"steps": [0.5, 1.0], "minutes": 1, "slates": 200, **said})
        document = started("home", asked, "personal-1", (1, 1), self.now)
        self.write("canary", "home", document.model_dump(mode="json"))

    def fold(self) -> None:
        for batch in self.log.read({(CONTROL, 0): self._after}, max_messages=100, wait_s=0.0):
            self._view.step(batch)()
            for message in batch.messages:
                self.control = self.control.applied(decode_change(message.payload), message.position)
            self._after = batch.messages[-1].position

    def look(self, at: float) -> tuple[str, str]:
        self.now = at
        word = self.steward.look()["home"]
        self.fold()
        return word.action, word.why

    @property
    def canary(self) -> CanaryDocument:
        return CanaryDocument.model_validate(self.control.standings(CANARY, "home")[-1].document)

    @property
    def policy(self) -> str:
        return self.control.of(SURFACE)["home"].policy


@pytest.fixture
def shop(switched_log: Any, switched_state: Any, warehouse: Warehouse) -> Shop:
    return Shop(switched_log, switched_state, warehouse)


def test_a_canary_that_does_no_harm_goes_up_the_steps_and_takes_over(shop: Shop, warehouse: Warehouse) -> None:
    shop.start()
    salt = shop.canary.salt
    record_arm(warehouse, "candidate", 150, at=T0 + 1, canary=salt)
    record_arm(warehouse, "baseline", 150, at=T0 + 1, canary=salt)

    assert shop.look(T0 + 10)[0] == "hold"
    assert shop.look(T0 + 61)[0] == "advance"
    assert (shop.canary.step, shop.canary.began) == (1, [T0, T0 + 61])
    record_arm(warehouse, "candidate", 150, at=T0 + 62, canary=salt, step=1)
    assert shop.look(T0 + 200)[0] == "pass"

    assert (shop.policy, shop.canary.state) == ("greedy-1", "passed")
    done = shop.control.entry("surface", "home").done[-1]
    assert (done.by, done.reason) == (STEWARD, "all guardrails held, to the last of 2 steps")
    assert shop.steward.look() == {}


def test_a_broken_guardrail_takes_the_share_away_and_says_by_which_figures(shop: Shop, warehouse: Warehouse) -> None:
    shop.start()
    salt = shop.canary.salt
    record_arm(warehouse, "candidate", 300, at=T0 + 1, canary=salt, is_clicked=lambda n: n % 50 == 0)
    record_arm(warehouse, "baseline", 300, at=T0 + 1, canary=salt, is_clicked=lambda n: n % 3 == 0)

    action, why = shop.look(T0 + 5)

    assert action == "stop"
    assert why.startswith("click_rate: 0.02 against 0.3333 (300 and 300 users)")
    assert (shop.canary.state, shop.canary.why, shop.policy) == ("stopped", why, "personal-1")
    assert shop.control.canary(shop.control.surface("home")) is None
    assert shop.control.entry("canary", "home").done[-1].by == STEWARD
    (said,) = map(decode_words, shop.state.announced(STEWARD).values())
    assert said["home"].action == "stop"


def test_while_the_warehouse_is_away_it_holds_and_says_so(switched_log: Any, switched_state: Any) -> None:
    away = open_warehouse("http://user:key@127.0.0.1:1/none")
    shop = Shop(switched_log, switched_state, away)
    shop.start()

    assert shop.look(T0 + 10_000) == ("hold", "the warehouse does not answer: nothing is known of this step")
    assert shop.canary.state == "running"


@pytest.mark.parametrize(
    ("kind", "document_id", "document", "why"),
    [
        ("surface", "home", {"policy": "popularity-1"}, "the surface answers by popularity-1 now"),
        ("policy", "greedy-1", {"tau": 1.0}, "greedy-1 is another: version 2, the canary began with 1"),
        ("policy", "personal-1", {"tau": 1.0}, "personal-1 is another: version 2, the canary began with 1"),
    ],
)
def test_it_stops_once_it_is_no_longer_the_same_comparison(
    shop: Shop, kind: str, document_id: str, document: dict[str, Any], why: str
) -> None:
    shop.start()
    shop.write(kind, document_id, document)

    action, said = shop.look(T0 + 1)

    assert action == "stop"
    assert said.startswith(why)
    assert shop.canary.state == "stopped"


def test_what_two_stewards_decide_at_once_is_done_once(shop: Shop, warehouse: Warehouse) -> None:
    shop.start()
    salt = shop.canary.salt
    for arm in ("candidate", "baseline"):
        record_arm(warehouse, arm, 150, at=T0 + 1, canary=salt)
    shop.now = T0 + 61

    shop.steward.look()
    shop.steward.look()  # its view of the documents is still that of before
    shop.fold()

    assert shop.canary.step == 1
    assert shop.control.entry("canary", "home").revision == 2
