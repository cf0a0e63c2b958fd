from __future__ import annotations

from datetime import date
from importlib.resources import files
from typing import Any

import pytest
from example_slate import example_slate

from online.core.catalogue import ITEMS
from online.core.dead_letter import DEAD, dead_letter
from online.core.example import EXAMPLES, PURCHASE, Example, encode_example
from online.core.join import SLATES
from online.core.partition import EVENTS, USERS
from online.core.rows import EPOCH_DAY, TABLES, blocks
from online.ports import Batch, Message
from schemas.event import Event, EventItem, encode_event
from schemas.identity import accept_merge, encode_identity
from schemas.item import Item, encode_item
from schemas.slate import encode_slate
from schemas.user import User, encode_user

DAY_S = 86_400.0
T0 = 19_000 * DAY_S


def event(at: float = T0, **fields: Any) -> bytes:
    fields = {"event_type": "click", "user_id": "7", "items": [EventItem("a", position=2)], **fields}
    return encode_event(Event(event_id="e", timestamp=at - 0.5, received_at=at, **fields))


def slate(**said: Any) -> bytes:
    return encode_slate(
        example_slate(
            **said,
            partition=1,
            user_key="u7",
            time=T0 - 1,
            served_at=T0,
            model_version="3",
            candidates=["a", "b"],
            slots=[1],
            propensities=[0.25],
        )
    )


def batch(topic: str, *payloads: bytes, partition: int = 1) -> Batch:
    return Batch(topic, partition, [Message(f"p{i}", payload) for i, payload in enumerate(payloads)])


def rows(given: Batch) -> list[dict[str, Any]]:
    return [dict(zip(block.table.columns, row, strict=True)) for block in blocks(given) for row in block.rows]


def test_an_event_becomes_a_row_beside_its_original_bytes() -> None:
    payload = event(value=2.5, surface="home", session_id="s", recommendation_id="r")

    (row,) = rows(batch(EVENTS, payload))

    assert row == {
        "topic": "events", "partition": 1, "position": "p0", "day": date(2022, 1, 8),
        "received_at": round(T0 * 1e6), "timestamp": round(T0 * 1e6) - 500_000,
        "event_id": "e", "event_type": "click", "user_key": "u7", "session_id": "s", "item_ids": ["a"],
        "positions": [2], "value": 2.5, "surface": "home", "recommendation_id": "r", "payload": payload,
    }  # fmt: skip


def test_items_and_users_become_documents() -> None:
    (item,) = rows(batch(ITEMS, encode_item(Item(item_id="a", updated_at=T0, created_at=0.0))))
    (user,) = rows(batch(USERS, encode_user(User(user_id="7", updated_at=T0))))

    assert (item["topic"], item["id"], item["updated_at"]) == ("items", "a", round(T0 * 1e6))
    assert (user["topic"], user["id"], user["day"]) == ("users", "7", date(2022, 1, 8))


def test_a_slate_names_its_items_and_their_propensities() -> None:
    (row,) = rows(batch(SLATES, slate()))

    assert (row["item_ids"], row["propensities"], row["candidates"]) == (["b"], [0.25], 2)
    assert (row["served_at"], row["time"]) == (round(T0 * 1e6), round(T0 * 1e6) - 1_000_000)
    assert row["payload"] == slate()


def test_a_slate_names_its_experiment_and_whether_its_policy_was_asked_for() -> None:
    (tried,) = rows(batch(SLATES, slate(experiment_id="e", variant="new")))
    (asked,) = rows(batch(SLATES, slate(request={"policy": "greedy-1"}, held_out=True)))

    assert (tried["experiment_id"], tried["variant"], tried["own_policy"]) == ("e", "new", False)
    assert (asked["experiment_id"], asked["held_out"], asked["own_policy"]) == ("", True, True)


def test_an_example_becomes_an_outcome() -> None:
    example = Example("r", 1, "home", T0, "3", ["f"], b"\0" * 8, [1, 4], [False, True])

    (row,) = rows(batch(EXAMPLES, encode_example(example), partition=0))

    assert (row["recommendation_id"], row["slots"], row["clicked"]) == ("r", [1, 4], [False, True])
    assert (row["topic"], row["partition"], row["payload"]) == (EXAMPLES, 0, encode_example(example))
    assert row["correction"] == ""


def test_a_correction_is_a_row_beside_that_of_its_example() -> None:
    example = Example("r", 1, "home", T0, "3", ["f"], b"\0" * 4, [4], [True], outcomes=[PURCHASE], is_correction=True)

    (row,) = rows(batch(EXAMPLES, encode_example(example), partition=0))

    assert (row["recommendation_id"], row["correction"]) == ("r", "4:4")


def test_a_dead_letter_keeps_where_it_came_from_and_its_bytes() -> None:
    letter = dead_letter(batch(EVENTS, b"\xff"), Message("p9", b"\xff"), "no event")[2]

    (row,) = rows(batch(DEAD, letter, partition=0))

    assert (row["topic"], row["partition"], row["position"]) == ("events", 1, "p9")
    assert (row["reason"], row["payload"]) == ("no event", b"\xff")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b'{"event_id":"e","event_type":"view","timestamp":1e300,"received_at":1,"user_id":"1"}',
        b'{"event_id":"e","event_type":"view","timestamp":1,"received_at":-5,"user_id":"1"}',
    ],
)
def test_the_archive_keeps_every_byte_of_what_is_no_event(payload: bytes) -> None:
    good, bad = rows(batch(EVENTS, payload, event()))[::-1]

    assert (bad["payload"], bad["day"], bad["position"]) == (payload, EPOCH_DAY, "p0")
    assert good["event_id"] == "e"


def test_positions_fit_their_column_whoever_wrote_them() -> None:
    items = [EventItem("a", position=n) for n in (-1, 0, 70_000)]

    (row,) = rows(batch(EVENTS, event(items=[*items, EventItem("b")])))

    assert row["positions"] == [0, 0, 65_535, 0]


def test_what_is_no_document_is_kept_and_what_is_no_slate_left_out() -> None:
    assert rows(batch(ITEMS, b"?"))[0]["payload"] == b"?"
    assert rows(batch(USERS, b"?"))[0]["payload"] == b"?"
    for topic in (SLATES, EXAMPLES, DEAD):
        assert rows(batch(topic, b"?")) == []


def test_a_batch_over_midnight_is_one_block_for_each_day() -> None:
    found = blocks(batch(EVENTS, event(T0 - 1), event(T0 + 1), event(T0 - 2)))

    assert [len(block.rows) for block in found] == [2, 1]
    assert [block.token for block in found] == ["events:1:p0:p2:2022-01-07", "events:1:p0:p2:2022-01-08"]


def test_the_same_range_gives_the_same_blocks_and_another_range_other_tokens() -> None:
    payloads = [event(T0 - 1), event(T0), b"?"]

    assert blocks(batch(EVENTS, *payloads)) == blocks(batch(EVENTS, *payloads))
    tokens = {block.token for block in blocks(batch(EVENTS, *payloads))}
    assert tokens.isdisjoint(block.token for block in blocks(batch(EVENTS, *payloads, event())))
    assert tokens.isdisjoint(block.token for block in blocks(batch(EVENTS, *payloads, partition=2)))


@pytest.mark.parametrize("table", sorted({table.name for table in TABLES.values()}))
def test_every_table_has_its_statement_with_the_same_columns(table: str) -> None:
    statement = files("online.tables").joinpath(f"{table}.sql").read_text(encoding="utf-8")
    (columns,) = {tuple(t.columns) for t in TABLES.values() if t.name == table}

    lines = statement.split("(\n", 1)[1].split("\n)\n", 1)[0].splitlines()
    assert [line.split()[0] for line in lines] == list(columns)


def test_the_archive_keeps_merges_and_what_follows_from_them_in_their_places() -> None:
    merge = encode_identity(accept_merge(user_id="7", visitor_id="g", event_id="m", now=T0))

    (block,) = blocks(Batch(EVENTS, 1, [Message("1", event()), Message("2", merge), Message("3", event())]))

    rows = [dict(zip(block.table.columns, row, strict=True)) for row in block.rows]
    assert [(row["position"], row["event_type"]) for row in rows] == [("1", "click"), ("2", "merge"), ("3", "click")]
    assert rows[1]["payload"] == merge
