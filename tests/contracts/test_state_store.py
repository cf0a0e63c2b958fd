"""The contract of the state store, on every adapter."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from online.connect import open_state
from online.ports import Fenced, StateStore


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


def test_keys_are_any_text(state: StateStore, view: str) -> None:
    generation = state.claim(view, 0).generation
    state.commit(view, 0, generation, {view: {"u ü:{}\n": b"\x00\xff"}}, b"c")

    assert state.get(0, view, "u ü:{}\n") == b"\x00\xff"
