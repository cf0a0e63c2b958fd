"""The contract of the state store, on every adapter."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from online.connect import open_state
from online.ports import Fenced, Perishable, StateStore


@pytest.fixture(params=["memory", "redis"])
def state(request: pytest.FixtureRequest) -> Iterator[StateStore]:
    url = "memory:" if request.param == "memory" else request.getfixturevalue("redis_url")
    state = open_state(url)
    yield state
    state.close()


@pytest.fixture
def view() -> str:
    return f"v{uuid.uuid4().hex[:8]}"


def test_a_commit_writes_records_and_checkpoint_together(state: StateStore, view: str) -> None:
    claim = state.claim(view, 0)
    state.commit(view, 0, claim.generation, {view: {"a": b"1", "b": b"2"}}, b"c1")

    assert claim.checkpoint is None
    assert state.get(0, view, "a") == b"1"
    assert state.get_many(0, view, ["b", "none", "a"]) == [b"2", None, b"1"]
    assert state.checkpoint(view, 0) == b"c1"
    assert state.claim(view, 0).checkpoint == b"c1"


def test_none_deletes_a_record(state: StateStore, view: str) -> None:
    generation = state.claim(view, 0).generation
    state.commit(view, 0, generation, {view: {"a": b"1", "b": b"2"}}, b"c1")
    state.commit(view, 0, generation, {view: {"a": None}}, b"c2")

    assert dict(state.scan(0, view)) == {"b": b"2"}


def test_partitions_and_families_are_apart(state: StateStore, view: str) -> None:
    for partition in (0, 1):
        generation = state.claim(view, partition).generation
        state.commit(view, partition, generation, {view: {"a": b"%d" % partition}}, b"c")

    assert (state.get(0, view, "a"), state.get(1, view, "a")) == (b"0", b"1")
    assert state.get(0, f"{view}x", "a") is None


def test_records_of_several_partitions_come_in_the_order_asked(state: StateStore, view: str) -> None:
    for partition in (0, 1):
        generation = state.claim(view, partition).generation
        state.commit(view, partition, generation, {view: {"a": b"%d" % partition}}, b"c")

    assert state.get_across([1, 0, 1], view, ["a", "a", "none"]) == [b"1", b"0", None]


def test_a_fenced_owner_writes_nothing(state: StateStore, view: str) -> None:
    old = state.claim(view, 0)
    state.commit(view, 0, old.generation, {view: {"a": b"1"}}, b"c1")
    new = state.claim(view, 0)

    with pytest.raises(Fenced):
        state.commit(view, 0, old.generation, {view: {"a": b"9"}}, b"c9")

    assert state.get(0, view, "a") == b"1"
    state.commit(view, 0, new.generation, {view: {"a": b"2"}}, b"c2")
    assert state.checkpoint(view, 0) == b"c2"


def test_a_repeated_commit_changes_nothing(state: StateStore, view: str) -> None:
    generation = state.claim(view, 0).generation
    for _ in range(3):
        state.commit(view, 0, generation, {view: {"a": b"1"}}, b"c1")

    assert dict(state.scan(0, view)) == {"a": b"1"}


def test_scan_finds_every_record(state: StateStore, view: str) -> None:
    generation = state.claim(view, 0).generation
    records: dict[str, bytes | None] = {f"key-{i}": b"%d" % i for i in range(3000)}
    state.commit(view, 0, generation, {view: records}, b"c")

    assert dict(state.scan(0, view)) == records
    count, size = state.footprint(0, view)
    assert count == 3000
    assert size > 3000 * 8


def test_dropped_views_start_over_and_keep_fencing(state: StateStore, view: str) -> None:
    old = state.claim(view, 0)
    state.commit(view, 0, old.generation, {view: {"a": b"1"}}, b"c1")
    new = state.claim(view, 0)
    state.drop(view, 0, [view])

    assert state.get(0, view, "a") is None
    assert state.checkpoint(view, 0) is None
    with pytest.raises(Fenced):
        state.commit(view, 0, old.generation, {view: {"a": b"1"}}, b"c1")
    state.commit(view, 0, new.generation, {}, b"c2")


def test_perishable_records_are_there_for_their_time(state: StateStore, view: str) -> None:
    generation = state.claim(view, 0).generation
    records: dict[str, bytes | None] = {f"key-{i}": b"%d" % i for i in range(3000)}
    perishable = {view: Perishable(60, [f"key-{i}" for i in range(0, 3000, 2)])}
    state.commit(view, 0, generation, {view: records, f"{view}x": {"a": b"1"}}, b"c1", perishable)
    state.commit(view, 0, generation, {view: {"key-0": None, "key-1": None}}, b"c2", perishable)

    assert dict(state.scan(0, view)) == {key: records[key] for key in records.keys() - {"key-0", "key-1"}}
    assert state.get(0, f"{view}x", "a") == b"1"


def test_redis_forgets_what_has_perished_and_nothing_else(
    redis_url: str, view: str, eventually: Callable[[Callable[[], Any]], Any]
) -> None:
    state = open_state(redis_url)
    generation = state.claim(view, 0).generation
    perishable = {view: Perishable(1, ["a", "b", "c"])}
    state.commit(view, 0, generation, {view: {"a": b"1", "b": b"1", "c": b"1", "d": b"1"}}, b"c1", perishable)
    state.commit(view, 0, generation, {view: {"b": b"2"}}, b"c2")  # it has become one that stays
    state.commit(view, 0, generation, {view: {"c": b"2"}}, b"c3", {view: Perishable(60, ["c"])})
    assert state.get(0, view, "a") == b"1"

    eventually(lambda: state.get(0, view, "a") is None)

    assert dict(state.scan(0, view)) == {"b": b"2", "c": b"2", "d": b"1"}
    state.close()


def test_keys_are_any_text(state: StateStore, view: str) -> None:
    generation = state.claim(view, 0).generation
    state.commit(view, 0, generation, {view: {"u ü:{}\n": b"\x00\xff"}}, b"c")

    assert state.get(0, view, "u ü:{}\n") == b"\x00\xff"


def test_families_are_exchanged_with_the_checkpoint_in_one_step(state: StateStore, view: str) -> None:
    generation = state.claim(view, 0).generation
    written = {view: {"a": b"old"}, f"{view}-new": {"a": b"new", "b": b"new"}, f"{view}-gone": {"c": b"old"}}
    state.commit(view, 0, generation, written, b"c1")

    state.swap(view, 0, generation, {view: f"{view}-new", f"{view}-gone": f"{view}-nothing"}, b"c2")

    assert dict(state.scan(0, view)) == {"a": b"new", "b": b"new"}
    assert dict(state.scan(0, f"{view}-new")) == {"a": b"old"}
    assert dict(state.scan(0, f"{view}-gone")) == {}
    assert dict(state.scan(0, f"{view}-nothing")) == {"c": b"old"}
    assert state.checkpoint(view, 0) == b"c2"


def test_a_fenced_owner_exchanges_nothing(state: StateStore, view: str) -> None:
    old = state.claim(view, 0)
    state.commit(view, 0, old.generation, {view: {"a": b"1"}, f"{view}-new": {"a": b"2"}}, b"c1")
    state.claim(view, 0)

    with pytest.raises(Fenced):
        state.swap(view, 0, old.generation, {view: f"{view}-new"}, b"c2")

    assert (state.get(0, view, "a"), state.checkpoint(view, 0)) == (b"1", b"c1")


def test_members_of_a_group_hold_partitions_apart_from_each_other(state: StateStore, view: str) -> None:
    assert state.lease(view, "a", [0, 1, 12], 60.0) == {"a": frozenset({0, 1, 12})}
    assert state.lease(view, "b", [1, 2], 60.0) == {"a": frozenset({0, 1, 12}), "b": frozenset({2})}
    assert state.lease(view, "a", [0, 2], 60.0) == {"a": frozenset({0}), "b": frozenset({2})}
    assert state.roster(view) == {"a": frozenset({0}), "b": frozenset({2})}
    assert state.lease(f"{view}-other", "a", [1], 60.0) == {"a": frozenset({1})}


def test_a_member_that_wants_nothing_is_a_member(state: StateStore, view: str) -> None:
    state.lease(view, "host:/data dir:0", [], 60.0)

    assert state.lease(view, "b", [0], 60.0) == {"host:/data dir:0": frozenset(), "b": frozenset({0})}


def test_a_lease_ends_by_itself(state: StateStore, view: str) -> None:
    state.lease(view, "a", [0, 1], 0.05)
    time.sleep(0.1)

    assert state.roster(view) == {}
    assert state.lease(view, "b", [1], 60.0) == {"b": frozenset({1})}
    assert state.lease(view, "a", [0, 1], 60.0)["a"] == frozenset({0})


def test_who_leaves_holds_nothing_from_then_on(state: StateStore, view: str) -> None:
    state.lease(view, "a", [0], 60.0)
    state.leave(view, "a")

    assert state.lease(view, "b", [0], 60.0) == {"b": frozenset({0})}


def test_what_a_member_says_stands_until_it_says_more_or_leaves(state: StateStore, view: str) -> None:
    assert state.announce(view, "a", b"1", 60.0) == {"a": b"1"}
    assert state.announce(view, "b c", b"2 \x00\n3", 60.0) == {"a": b"1", "b c": b"2 \x00\n3"}
    assert state.announce(view, "a", b"", 60.0) == {"a": b"", "b c": b"2 \x00\n3"}
    assert state.announced(view) == {"a": b"", "b c": b"2 \x00\n3"}
    assert state.announced(f"{view}-other") == {}
    state.leave(view, "a")

    assert state.announced(view) == {"b c": b"2 \x00\n3"}


def test_what_a_member_says_ends_by_itself(state: StateStore, view: str) -> None:
    state.announce(view, "a", b"1", 0.05)
    time.sleep(0.1)

    assert state.announced(view) == {}
    assert state.announce(view, "b", b"2", 60.0) == {"b": b"2"}
