from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from online.core.merge import known_together
from online.core.partition import USER, partition_of
from online.core.record import decode_record, encode_record
from online.ports import START
from schemas.event import user_key
from schemas.identity import Merge, decode_identity

PARTITIONS = 2
ITEMS = [f"shoe-{i}" for i in range(8)]
GUEST, MEMBER = "g-1", "7"

Wait = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def shop(system: Any) -> Any:
    system.put_items(*ITEMS, categories=["shoes"], brand="acme", price=50.0)
    return system


def click(shop: Any, item: str, **who: Any) -> None:
    answer = shop.client.post("/v1/events", json={"event_type": "click", "item_id": item, **who})
    assert answer.status_code == 202, answer.text


def merge(shop: Any, user: str = MEMBER, visitor: str = GUEST) -> Any:
    answer = shop.client.post(f"/v1/users/{user}:merge", json={"visitor_id": visitor})
    assert answer.status_code == 202, answer.text
    return answer.json()


def record(shop: Any, **who: Any) -> Any:
    key = user_key(who.get("user_id"), who.get("visitor_id"))
    payload = shop.state.port.get(partition_of(key, PARTITIONS), USER, key)
    return payload and decode_record(payload)


def counts(shop: Any, **who: Any) -> dict[int, int]:
    found = record(shop, **who)
    return found.counts if found else {}


def test_what_a_guest_did_counts_for_the_user_it_became_and_what_it_still_does_as_well(
    shop: Any, eventually: Wait
) -> None:
    click(shop, "shoe-1", visitor_id=GUEST)
    click(shop, "shoe-2", user_id=MEMBER)

    assert merge(shop) == {"user_id": MEMBER, "visitor_id": GUEST}
    click(shop, "shoe-3", visitor_id=GUEST)

    eventually(lambda: counts(shop, user_id=MEMBER) == {2: 3})
    shown = shop.client.get(f"/v1/users/{MEMBER}").json()
    assert sorted(touch["item_id"] for touch in shown["recent"]) == ["shoe-1", "shoe-2", "shoe-3"]
    assert counts(shop, visitor_id=GUEST) == {2: 1}


def test_a_merge_is_on_the_log_of_the_visitor_when_it_is_answered(shop: Any) -> None:
    merge(shop)

    (said,) = [one for one in map(decode_identity, shop.payloads("events")) if isinstance(one, Merge)]
    assert (said.user_id, said.visitor_id) == (MEMBER, GUEST)
    here = ("events", partition_of(f"v{GUEST}", PARTITIONS))
    (batch,) = shop.log.port.read({here: START}, max_messages=1, wait_s=0.0)
    assert decode_identity(batch.messages[0].payload) == said


def test_a_merge_is_kept_while_the_log_is_away_behind_the_events_before_it(shop: Any, eventually: Wait) -> None:
    shop.log.is_off = True
    click(shop, "shoe-1", visitor_id=GUEST)
    merge(shop)
    shop.log.is_off = False

    eventually(lambda: counts(shop, user_id=MEMBER) == {2: 1})
    assert record(shop, visitor_id=GUEST).forward.absorbed_by == MEMBER


def test_with_the_visitor_id_alone_a_merged_guest_gets_the_slate_of_the_user(shop: Any, eventually: Wait) -> None:
    click(shop, "shoe-2", user_id=MEMBER)
    click(shop, "shoe-1", visitor_id=GUEST)
    merge(shop)
    eventually(lambda: counts(shop, user_id=MEMBER) == {2: 2})

    answer = shop.slate(visitor_id=GUEST, exclude_seen=True)

    shown = {item["item_id"] for item in answer["items"]}
    assert shown.isdisjoint({"shoe-1", "shoe-2"})
    assert answer["state_as_of"]["position"] == record(shop, user_id=MEMBER).position
    slate = eventually(lambda: shop.logged_slates().get(answer["recommendation_id"]))
    assert slate.user_key == f"v{GUEST}"  # its outcomes come to the visitor's partition
    assert slate.records == {
        f"v{GUEST}": record(shop, visitor_id=GUEST).position,
        f"u{MEMBER}": record(shop, user_id=MEMBER).position,
    }


def test_both_ids_without_a_merge_mean_the_user_alone(shop: Any, eventually: Wait) -> None:
    click(shop, "shoe-2", user_id=MEMBER)
    click(shop, "shoe-1", visitor_id=GUEST)
    eventually(lambda: counts(shop, user_id=MEMBER) and counts(shop, visitor_id=GUEST))

    answer = shop.slate(user_id=MEMBER, visitor_id=GUEST, exclude_seen=True)

    shown = {item["item_id"] for item in answer["items"]}
    assert "shoe-1" in shown
    assert "shoe-2" not in shown


def test_until_the_record_is_taken_over_the_ranking_reads_both(
    shop: Any, eventually: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    click(shop, "shoe-2", user_id=MEMBER)
    click(shop, "shoe-1", visitor_id=GUEST)
    eventually(lambda: counts(shop, user_id=MEMBER) and counts(shop, visitor_id=GUEST))
    before = record(shop, user_id=MEMBER)
    merge(shop)
    eventually(lambda: counts(shop, user_id=MEMBER) == {2: 2})
    after, visitor = record(shop, user_id=MEMBER), record(shop, visitor_id=GUEST)

    def read_before(partitions: Any, family: str, keys: Any) -> list[bytes]:
        return [encode_record({f"u{MEMBER}": before, f"v{GUEST}": visitor}[key]) for key in keys]

    monkeypatch.setattr(shop.state, "get_across", read_before, raising=False)

    answer = shop.slate(user_id=MEMBER, visitor_id=GUEST, exclude_seen=True)

    shown = {item["item_id"] for item in answer["items"]}
    assert shown.isdisjoint({"shoe-1", "shoe-2"})
    together = known_together(before, MEMBER, visitor)
    assert together is not None
    assert (together.counts, together.recent) == (after.counts, after.recent)


def test_with_the_state_store_away_a_merged_guest_still_gets_a_slate(shop: Any, eventually: Wait) -> None:
    merge(shop)
    eventually(lambda: record(shop, visitor_id=GUEST))
    shop.state.is_off = True

    answer = shop.slate(user_id=MEMBER, visitor_id=GUEST)

    assert answer["items"]
    assert "no user record" in answer["fallback"]["why"]


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "visitor_id"), ({"visitor_id": ""}, "visitor_id"), ({"visitor_id": "a", "user_id": "7"}, "user_id")],
)
def test_a_merge_that_names_no_visitor_is_refused(shared_system: Any, body: Any, field: str) -> None:
    answer = shared_system.client.post(f"/v1/users/{MEMBER}:merge", json=body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("kind", ["merge", "absorb", "forwarded"])
def test_clients_cannot_send_what_says_who_is_who_as_events(shared_system: Any, kind: str) -> None:
    answer = shared_system.client.post("/v1/events", json={"event_type": kind, "user_id": "1", "visitor_id": "2"})

    assert answer.status_code == 422


def test_a_merge_that_can_be_kept_nowhere_is_not_acknowledged(shop: Any) -> None:
    shop.worker.appender.close()

    answer = shop.client.post(f"/v1/users/{MEMBER}:merge", json={"visitor_id": GUEST})

    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
