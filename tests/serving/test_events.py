from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from online.core.partition import EVENTS
from online.core.record import TYPE_CODES
from schemas.event import ALIASES, EVENT_TYPES, Event, decode_event

VIEW = {"event_type": "view", "user_id": "1", "item_id": "a"}
NDJSON = {"Content-Type": "application/x-ndjson"}


def view(**fields: Any) -> dict[str, Any]:
    return {**VIEW, **fields}


def post(system: Any, body: Any, **options: Any) -> dict[str, Any]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = system.client.post("/v1/events", content=content, **options)
    assert answer.status_code == 202, answer.text
    document: dict[str, Any] = answer.json()
    return document


def logged(system: Any) -> list[Event]:
    return [decode_event(payload) for payload in system.payloads(EVENTS)]


def counted(system: Any, user_id: str, event_type: str) -> int:
    record = system.worker.record(f"u{user_id}")
    return record.counts.get(TYPE_CODES[event_type], 0) if record else 0


def test_a_single_event_is_in_the_log_and_reaches_the_record(system: Any, eventually: Callable[..., Any]) -> None:
    answer = post(system, view(event_type="click", position=3))

    assert {k: v for k, v in answer.items() if k != "took_ms"} == {
        "accepted": 1, "duplicates": 0, "rejected": 0, "errors": [],
    }  # fmt: skip
    (event,) = logged(system)
    assert (event.event_type, event.items[0].item_id, event.items[0].position) == ("click", "a", 3)
    assert abs(event.timestamp - time.time()) < 60
    assert event.event_id
    eventually(lambda: counted(system, "1", "click") == 1)


def test_one_bad_row_of_a_batch_fails_alone(system: Any) -> None:
    answer = post(system, {"events": [view(), view(event_type="no such"), view(item_id="b")]})

    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    (error,) = answer["errors"]
    assert (error["index"], error["field"]) == (1, "event_type")
    assert [event.items[0].item_id for event in logged(system)] == ["a", "b"]


def test_ndjson_is_taken_row_by_row(system: Any) -> None:
    lines = [json.dumps(view()), "", "{broken", json.dumps(view(item_id="b")), "[]"]

    answer = post(system, "\r\n".join(lines).encode(), headers=NDJSON)

    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    assert [(error["index"], error["code"]) for error in answer["errors"]] == [(1, "json_invalid"), (3, "model_type")]


@pytest.mark.parametrize(
    "body",
    [
        b' \n\t{ "events" : [%s]}',
        b'\xef\xbb\xbf{"events": [%s]}',
        b"\xef\xbb\xbf%s",
        b" \n%s\n ",
    ],
)
def test_white_space_and_a_byte_order_mark_are_no_matter(shared_system: Any, body: bytes) -> None:
    assert post(shared_system, body % json.dumps(VIEW).encode())["accepted"] == 1


def test_an_empty_batch_is_nothing(system: Any) -> None:
    assert post(system, {"events": []})["accepted"] == 0
    assert post(system, b"", headers=NDJSON)["accepted"] == 0


def test_every_type_and_every_alias_is_known(system: Any) -> None:
    names = [*EVENT_TYPES, *ALIASES]

    answer = post(system, {"events": [view(event_type=name) for name in names]})

    assert answer["accepted"] == len(names)
    assert [event.event_type for event in logged(system)] == [ALIASES.get(name, name) for name in names]


def test_camel_case_is_taken_and_snake_case_logged(system: Any) -> None:
    post(
        system,
        {
            "eventType": "purchase-complete",
            "visitorId": 7,
            "items": [{"itemId": "a", "quantity": 2}],
            "recommendationId": "r",
            "experimentIds": ["x"],
        },
    )

    (payload,) = system.payloads(EVENTS)
    document = json.loads(payload)
    assert (document["event_type"], document["visitor_id"]) == ("purchase", "7")
    assert document["recommendation_id"] == "r"
    assert document["items"][0]["item_id"] == "a"


@pytest.mark.parametrize(
    ("fields", "field", "near"),
    [
        ({"itemid": "a"}, "itemid", "item_id"),
        ({"eventtype": "view"}, "eventtype", "event_type"),
        ({"recomendationId": "r"}, "recomendationId", "recommendation_id"),
        ({"items": [{"item_id": "a", "quantaty": 2}], "item_id": None}, "items.0.quantaty", "quantity"),
    ],
)
def test_an_unknown_field_names_the_nearest(shared_system: Any, fields: dict[str, Any], field: str, near: str) -> None:
    alone = shared_system.client.post("/v1/events", json=view(**fields))
    in_a_batch = post(shared_system, {"events": [view(**fields)]})

    assert alone.status_code == 422
    assert {"code": "extra_forbidden", "field": field, "message": f"unknown field: did you mean {near}?"} in (
        alone.json()["errors"]
    )
    assert in_a_batch["rejected"] == 1
    assert near in in_a_batch["errors"][0]["message"]


def test_a_missing_field_is_named_as_it_is_written_here(system: Any) -> None:
    answer = system.client.post("/v1/events", json={"user_id": "1", "item_id": "a"})

    assert answer.json()["errors"][0]["field"] == "event_type"


def test_an_event_sent_twice_counts_once(system: Any, eventually: Callable[..., Any]) -> None:
    event = view(event_id="e1")

    first = post(system, {"events": [event, event]})
    second = post(system, event)

    assert (first["accepted"], first["duplicates"]) == (2, 1)
    assert (second["accepted"], second["duplicates"]) == (1, 1)
    post(system, view(event_type="like"))
    eventually(lambda: counted(system, "1", "like") == 1)
    assert counted(system, "1", "view") == 1


def test_the_same_event_id_of_another_user_is_another_event(system: Any) -> None:
    answer = post(system, {"events": [view(event_id="1"), view(event_id="1", user_id="2")]})

    assert answer["duplicates"] == 0
    assert len(logged(system)) == 2


def test_times_ahead_of_the_clock_are_clamped_and_counted(system: Any) -> None:
    now = time.time()
    ahead = post(system, {"events": [view(timestamp=now + 3600), view(timestamp=now - 3600), view(timestamp=now + 2)]})

    assert ahead["accepted"] == 3
    future, past, skewed = logged(system)
    assert future.timestamp == future.received_at
    assert future.clamped_s == pytest.approx(3600, abs=60)
    assert past.timestamp == pytest.approx(now - 3600)
    assert skewed.timestamp == pytest.approx(now + 2)
    assert "headrace_clamped_events_total 1.0" in system.client.get("/metrics").text


def test_events_of_robots_that_say_so_are_marked_and_counted(system: Any) -> None:
    post(system, {"events": [view(context={"robot": True}), view(context={"user_agent": "Googlebot/2.1"}), view()]})
    system.client.post("/v1/events", json=view(), headers={"user-agent": "bingbot/2.0"})

    assert sorted(event.robot for event in logged(system)) == [False, True, True, True]
    assert "headrace_robot_events_total 3.0" in system.client.get("/metrics").text


def test_times_are_taken_in_three_notations(system: Any) -> None:
    given = ["2023-11-14T22:13:20Z", 1_700_000_000, 1_700_000_000_000]

    post(system, {"events": [view(timestamp=at) for at in given]})

    assert [event.timestamp for event in logged(system)] == [1.7e9] * 3


def test_ingest_stamps_what_the_catalogue_knows(system: Any) -> None:
    system.put_items("a", categories=["shoes"], brand="acme", price=14.0)

    post(system, view())

    (item,) = logged(system)[0].items
    assert (item.categories, item.brand, item.price_tier) == (["shoes"], "acme", "p8")


def test_a_users_events_share_a_partition_and_keep_their_order(system: Any) -> None:
    post(system, {"events": [view(event_id=str(n), user_id=str(n % 5)) for n in range(100)]})

    by_user: dict[str, list[int]] = {}
    for event in logged(system):
        by_user.setdefault(str(event.user_id), []).append(int(event.event_id))
    assert by_user == {str(user): list(range(user, 100, 5)) for user in range(5)}


def test_a_large_batch_and_a_long_one_are_refused_whole(system: Any) -> None:
    rows = system.client.post("/v1/events", json={"events": [VIEW] * 1001})
    lines = system.client.post("/v1/events", content=json.dumps(VIEW) + "\n" + "{}\n" * 1000, headers=NDJSON)
    body = system.client.post("/v1/events", content=b" " * (4 * 1024 * 1024 + 1))

    assert [answer.status_code for answer in (rows, lines, body)] == [413] * 3
    assert rows.headers["content-type"] == "application/problem+json"
    assert logged(system) == []


def test_a_body_without_length_is_capped_while_it_comes(system: Any) -> None:
    async def endless() -> Any:
        for _ in range(80):
            yield b" " * 65_536

    assert system.client.post("/v1/events", content=endless()).status_code == 413


def test_with_the_log_away_events_are_acknowledged_and_shipped_later(
    system: Any, eventually: Callable[..., Any]
) -> None:
    system.log.is_off = True
    post(system, view(event_id="e1"))
    assert logged(system) == []

    system.log.is_off = False

    eventually(lambda: [event.event_id for event in logged(system)] == ["e1"])


def test_with_log_and_spool_full_the_answer_says_when_to_try_again(system: Any) -> None:
    system.log.is_off = True
    big = view(properties={"text": "x" * 100_000})
    system.worker.appender._spool._cap = 150_000
    assert system.client.post("/v1/events", json=big).status_code == 202

    answer = system.client.post("/v1/events", json=big)

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["code"] == "not_kept"


def test_numbers_a_record_cannot_hold_do_not_reach_the_log(system: Any) -> None:
    answer = post(
        system,
        b'{"events":[%s]}'
        % b",".join(
            b'{"event_type":"view","user_id":"1","item_id":"a",%s}' % fields
            for fields in (
                b'"context":{"n":1%s}' % (b"0" * 400),
                b'"context":{"n":1e999}',
                b'"properties":{"deep":[{"n":1e999}]}',
                b'"timestamp":1%s' % (b"0" * 400),
                b'"value":1e999',
            )
        ),
    )

    assert (answer["accepted"], answer["rejected"]) == (0, 5)


def test_a_large_whole_number_in_the_context_is_folded(system: Any, eventually: Callable[..., Any]) -> None:
    post(system, view(context={"n": 10**30, "m": 2**63 - 1}))

    record = eventually(lambda: system.worker.record("u1"))
    assert record.context == {"n": 1e30, "m": 2**63 - 1}
