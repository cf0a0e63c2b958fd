"""Slates by their id: looked up, and gone on with."""

from __future__ import annotations

import time
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest

import serving.served
from online.core.join import SLATES
from online.ports import Unavailable
from schemas.slate import encode_slate

Wait = Callable[..., Any]
ITEMS = [f"i{n}" for n in range(25)]


class Archive:
    """A warehouse that holds slates, or is away."""

    def __init__(self) -> None:
        self.slates: dict[str, bytes] = {}
        self.is_off = False

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        if self.is_off:
            raise Unavailable("off")
        found = self.slates.get(parameters["id"])
        return [] if found is None else [(b64encode(found).decode(),)]

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def archive() -> Archive:
    return Archive()


@pytest.fixture
def shop(start_system: Any, archive: Archive, eventually: Wait) -> Any:
    system = start_system(ports={"open_warehouse": lambda: archive})
    eventually(lambda: system.worker.is_ready, within_s=60.0)
    system.put_items(*ITEMS, categories=["shoes"], price=5.0)
    eventually(lambda: len(system.worker.world.tops.new.everybody) == 25)
    return system


def shown(slate: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in slate["items"]]


def following(shop: Any, slate: dict[str, Any], **body: Any) -> Any:
    return shop.client.post(f"/v1/recommendations/{slate['recommendation_id']}/next", json=body)


def forget(shop: Any) -> None:
    """Let the worker be one that has just been started."""
    shop.worker.served = type(shop.worker.served)()


@pytest.mark.parametrize("by_cursor", [True, False])
def test_what_follows_repeats_nothing_to_the_end(shop: Any, eventually: Wait, by_cursor: bool) -> None:
    slate = shop.slate(user_id="1", n=10, filter="item.price < 9.0", exclude_item_ids=["i0"])
    pages = [shown(slate)]
    for _ in range(2):
        forget(shop)
        eventually(lambda slate=slate: by_cursor or slate["recommendation_id"] in shop.logged_slates())
        slate = following(shop, slate, **({"cursor": slate["next_cursor"]} if by_cursor else {})).json()
        pages.append(shown(slate))

    assert [len(page) for page in pages] == [10, 10, 4]
    assert sorted(item for page in pages for item in page) == sorted({*ITEMS} - {"i0"})
    assert slate["next_cursor"] is None


def test_another_worker_goes_on_with_what_was_asked(shop: Any, start_system: Any, eventually: Wait) -> None:
    slate = shop.slate(visitor_id="g", session_items=["i3", "i4"], n=5, surface="cart", context={"a": 1})
    other = start_system()
    eventually(lambda: other.worker.is_ready and slate["recommendation_id"] in shop.logged_slates())

    first, second = (following(other, slate, n=7, **given).json() for given in ({}, {"cursor": slate["next_cursor"]}))

    for page in (first, second):
        assert len(page["items"]) == 7
        assert not {*shown(page)} & {*shown(slate)}
        logged = eventually(lambda page=page: shop.logged_slates().get(page["recommendation_id"]))
        assert (logged.user_key, logged.surface, logged.session_items) == ("vg", "cart", ["i3", "i4"])
        assert logged.request["context"] == {"a": 1}


def test_a_session_that_the_record_told_is_that_of_the_moment(shop: Any, eventually: Wait) -> None:
    slate = shop.slate(user_id="1", n=3)
    click = {"event_type": "click", "user_id": "1", "item_id": "i24"}
    shop.client.post("/v1/events", json=click)
    eventually(lambda: (record := shop.worker.record("u1")) and record.recent)

    page = following(shop, slate).json()

    logged = eventually(lambda: shop.logged_slates().get(page["recommendation_id"]))
    assert logged.session_items == ["i24"]


def tampered(cursor: str, **ask: Any) -> str:
    recommendation_id, asked, items = msgspec.json.decode(urlsafe_b64decode(cursor))
    return urlsafe_b64encode(msgspec.json.encode([recommendation_id, {**asked, **ask}, items])).decode()


def test_a_cursor_is_read_as_the_request_that_it_is(shop: Any) -> None:
    slate, other = shop.slate(user_id="1", n=3), shop.slate(user_id="1", n=3)
    cursor = slate["next_cursor"]
    wrong = [
        "", "?", "é", cursor[:-9], "AAAA", urlsafe_b64encode(b"[1,2,3]").decode(), other["next_cursor"],
        tampered(cursor, n=1000), tampered(cursor, listing="rank"), tampered(cursor, exclude_item_ids=[""]),
        tampered(cursor, exclude_item_ids=7, user_id=["2"]), "x" * 16_385,
    ]  # fmt: skip

    for given in wrong:
        answer = following(shop, slate, cursor=given)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor"), given
        assert len(answer.content) < 1000


def test_after_a_thousand_items_there_is_no_going_on(shop: Any) -> None:
    slate = shop.slate(user_id="1", n=10, exclude_item_ids=[f"x{n}" for n in range(995)])

    assert slate["next_cursor"] is None
    long = shop.slate(user_id="1", n=3, exclude_item_ids=[f"{n:0256d}" for n in range(100)])
    assert long["next_cursor"] is None  # too long to carry
    assert len(following(shop, long).json()["items"]) == 3


def test_lists_cannot_be_gone_on_with_nor_a_slate_that_does_not_say_whose_it_was(shop: Any) -> None:
    trending = shop.client.get("/v1/trending?n=3").json()
    shop.client.put("/v1/users/1/preferences", json={"consent": False, "muted_items": ["i1"]})
    withdrawn = shop.slate(user_id="1", n=5)

    assert following(shop, trending).json()["code"] == "not_continued"
    assert following(shop, withdrawn).json()["code"] == "cursor_needed"
    page = following(shop, withdrawn, cursor=withdrawn["next_cursor"], n=100).json()
    assert sorted([*shown(withdrawn), *shown(page)]) == sorted({*ITEMS} - {"i1"})


def test_a_slate_is_looked_up_as_it_was_served_wherever_it_is(shop: Any, archive: Archive, eventually: Wait) -> None:
    served = shop.slate(user_id="1", n=5)
    path = f"/v1/recommendations/{served['recommendation_id']}"
    logged = eventually(lambda: shop.logged_slates().get(served["recommendation_id"]))

    at_once = shop.client.get(path).json()
    forget(shop)
    from_log = shop.client.get(path).json()
    archive.slates[served["recommendation_id"]] = encode_slate(logged)
    shop.log.is_off = True
    from_archive = shop.client.get(path).json()

    assert at_once == from_log == from_archive
    assert at_once["items"] == served["items"]
    for name in ("decision_id", "policy_id", "model_version", "fallback", "ope_valid", "controls"):
        assert at_once[name] == served[name]


def test_reasons_are_left_out_once_their_model_is_another(shop: Any, eventually: Wait) -> None:
    served = shop.slate(user_id="1", n=2)
    ranker = shop.worker.world.ranker
    shop.worker.world.ranker = replace(ranker, version="9")

    found = shop.client.get(f"/v1/recommendations/{served['recommendation_id']}").json()

    assert [item["reason"] for item in found["items"]] == [None, None]


def test_what_is_not_there_is_told_from_what_cannot_be_looked_up(shop: Any, archive: Archive) -> None:
    made_up = f"0-{int(time.time() * 1000):011x}{'ab' * 8}"
    path = f"/v1/recommendations/{made_up}"

    assert (shop.client.get(path).status_code, shop.client.post(f"{path}/next", json={}).status_code) == (404, 404)
    assert shop.client.get(path.replace("/0-", "/7-")).status_code == 404  # there is no such partition
    shop.log.is_off = True
    assert shop.client.get(path).json()["code"] == "log_away"
    archive.is_off = True
    assert shop.client.get(path).json()["code"] == "warehouse_away"
    assert shop.client.post("/v1/recommendations/7/next", json={}).status_code == 404


def test_on_the_log_only_what_was_logged_about_then_is_read(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served = shop.slate(user_id="1", n=2)
    partition = int(served["recommendation_id"].partition("-")[0], 16)
    shop.log.port.append(SLATES, [(partition, b"no slate")])
    later = shop.worker.served.get(served["recommendation_id"])
    monkeypatch.setattr(serving.served, "LATER_S", -1.0)
    forget(shop)

    assert later is not None
    long_ago = f"{partition:x}-{int((time.time() - 60) * 1000):011x}{'ab' * 8}"
    assert shop.client.get(f"/v1/recommendations/{long_ago}").status_code == 404


def test_the_session_of_an_id_counts_and_without_one_the_latest(shop: Any, eventually: Wait) -> None:
    rows = [
        {"event_type": "click", "user_id": "1", "item_id": item, "session_id": session}
        for item, session in (("i1", "phone"), ("i2", "desk"))
    ]
    for number, row in enumerate(rows, start=1):
        shop.client.post("/v1/events", json=row)
        eventually(lambda number=number: (record := shop.worker.record("u1")) and len(record.recent) == number)

    slates = [shop.slate(user_id="1", n=1, **ask) for ask in ({"session_id": "phone"}, {"session_id": "new"}, {})]

    logged = [eventually(lambda s=s: shop.logged_slates().get(s["recommendation_id"])) for s in slates]
    assert [slate.session_items for slate in logged] == [["i1"], ["i2"], ["i2"]]
