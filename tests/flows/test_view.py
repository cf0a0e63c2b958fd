from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest

import flows.log_source
import flows.view
from flows.view import View, adopt_all, build, run
from online.core.checkpoint import STEP_VERSION, Folded, NewerVersion, decode_checkpoint, encode_checkpoint
from online.ports import START, Batch

FAMILY = "letters"


class CountLetters:
    """A fold that counts letters and sends each new count on."""

    def __init__(self, state: Any, partition: int) -> None:
        stored = {key: int(value) for key, value in state.port.scan(partition, FAMILY)}
        self._counts: Counter[str] = Counter(stored)

    def fold(self, batch: Batch, seq: int) -> Folded:
        letters = [message.payload.decode() for message in batch.messages]
        self._counts.update(letters)
        outbox = [("updates", 0, f"{seq}:{letter}".encode()) for letter in letters]
        return Folded({FAMILY: {letter: b"%d" % self._counts[letter] for letter in letters}}, outbox)


class Killed(Exception):
    """The process ends here."""


class KilledOnAppend:
    """A log whose owner is killed when it appends."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def append(self, topic: str, messages: Any) -> list[str]:
        raise Killed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.view, "RETRY_S", 0.001)
    monkeypatch.setattr(flows.log_source, "RETRY_S", 0.001)


@pytest.fixture
def log(switched_log: Any) -> Any:
    return switched_log


@pytest.fixture
def state(switched_state: Any) -> Any:
    return switched_state


def open_view(log: Any, state: Any, partitions: int = 2) -> View:
    view = new_view(log, state, partitions)
    adopt_all([view])
    return view


def new_view(log: Any, state: Any, partitions: int = 2, name: str = "count", topic: str = "events") -> View:
    return View(name, (topic,), range(partitions), partial(CountLetters, state), state=state, log=log)


def written(log: Any, letters: str, partition: int = 0) -> Batch:
    """Append letters to the log and return them as the batch that is read."""
    positions = log.port.append("events", [(partition, letter.encode()) for letter in letters])
    (batch,) = log.port.read({("events", partition): ""}, max_messages=10_000, wait_s=0.0)
    return Batch("events", partition, [m for m in batch.messages if m.position in positions])


def counts(state: Any, partition: int = 0) -> dict[str, int]:
    return {key: int(value) for key, value in state.port.scan(partition, FAMILY)}


def sent(log: Any) -> list[str]:
    batches = log.port.read({("updates", 0): ""}, max_messages=10_000, wait_s=0.0)
    return [message.payload.decode() for batch in batches for message in batch.messages]


def test_a_commit_writes_records_and_checkpoint_and_sends_what_the_fold_says(log: Any, state: Any) -> None:
    view = open_view(log, state)
    batch = written(log, "aab")

    commit = view.step(batch)
    assert counts(state) == {}
    commit()

    assert counts(state) == {"a": 2, "b": 1}
    assert sent(log) == ["1:a", "1:a", "1:b"]
    checkpoint = decode_checkpoint(state.port.checkpoint("count", 0))
    assert (checkpoint.seq, checkpoint.folded) == (1, {"events": 3})
    assert checkpoint.positions == {"events": batch.messages[-1].position}


def test_batches_may_be_folded_ahead_of_their_commits(log: Any, state: Any) -> None:
    view = open_view(log, state)
    commits = [view.step(written(log, letters)) for letters in ("ab", "a", "ca")]

    for commit in commits:
        commit()

    assert counts(state) == {"a": 3, "b": 1, "c": 1}
    assert decode_checkpoint(state.port.checkpoint("count", 0)).seq == 3


def test_a_commit_repeated_changes_nothing_and_repeats_its_messages_under_the_same_number(log: Any, state: Any) -> None:
    view = open_view(log, state)
    commit = view.step(written(log, "ab"))
    commit()
    before = (counts(state), state.port.checkpoint("count", 0))

    commit()

    assert (counts(state), state.port.checkpoint("count", 0)) == before
    assert sent(log) == ["1:a", "1:b"] * 2


def test_an_outage_of_store_or_log_is_waited_for_in_place(log: Any, state: Any) -> None:
    state.fail_times = 2
    view = open_view(log, state)
    commit = view.step(written(log, "ab"))
    state.fail_times = log.fail_times = 3

    commit()

    assert counts(state) == {"a": 1, "b": 1}
    assert sent(log) == ["1:a", "1:b"]


def test_killed_between_commit_and_sending_the_next_owner_sends(log: Any, state: Any) -> None:
    killed = open_view(KilledOnAppend(log), state)
    with pytest.raises(Killed):
        killed.step(written(log, "ab"))()
    assert counts(state) == {"a": 1, "b": 1}
    assert sent(log) == []

    view = open_view(log, state)

    assert sent(log) == ["1:a", "1:b"]
    view.step(written(log, "a"))()
    assert counts(state) == {"a": 2, "b": 1}
    assert sent(log) == ["1:a", "1:b", "2:a"]


def test_killed_before_the_commit_the_next_owner_folds_the_batch_again(log: Any, state: Any) -> None:
    batch = written(log, "ab")
    open_view(log, state).step(batch)

    view = open_view(log, state)
    assert view.positions()["events", 0] == START
    view.step(batch)()

    assert counts(state) == {"a": 1, "b": 1}


def test_a_fenced_owner_writes_and_sends_nothing_and_knows_it(log: Any, state: Any) -> None:
    old = open_view(log, state)
    commits = [old.step(written(log, letters)) for letters in ("ab", "c")]
    new = open_view(log, state)

    for commit in commits:
        commit()
    old.step(written(log, "d"))()

    assert old.adopted == {1}
    assert counts(state) == {}
    assert sent(log) == []
    new.step(written(log, "c"))()
    assert counts(state) == {"c": 1}


def test_fenced_in_one_partition_a_view_keeps_the_others(log: Any, state: Any) -> None:
    old, other = open_view(log, state), new_view(log, state)
    other.adopt(0)

    for partition in (0, 1):
        old.step(written(log, "a", partition))()

    assert (counts(state, 0), counts(state, 1)) == ({}, {"a": 1})
    assert old.positions().keys() == {("events", 1)}


def test_a_partition_taken_back_is_folded_on_from_what_the_others_committed(log: Any, state: Any) -> None:
    view, other = open_view(log, state), new_view(log, state)
    view.step(written(log, "a"))()
    stale = view.step(written(log, "z"))
    view.release(0)
    other.adopt(0)
    other.step(written(log, "ab"))()
    other.release(0)

    view.adopt(0)
    stale()
    view.step(written(log, "b"))()

    assert counts(state) == {"a": 2, "b": 2}


def test_a_view_goes_on_where_each_partition_stands(log: Any, state: Any) -> None:
    view = open_view(log, state)
    first, second = written(log, "ab", partition=0), written(log, "c", partition=1)
    view.step(first)()

    positions = open_view(log, state).positions()

    assert positions == {("events", 0): first.messages[-1].position, ("events", 1): START}
    assert second.messages


def test_a_dataflow_keeps_several_views_and_goes_on_after_a_restart(log: Any, state: Any) -> None:
    for letters, partition in (("abc" * 50, 0), ("ab" * 30, 1)):
        written(log, letters, partition)
    log.port.append("items", [(0, b"x")] * 5)

    def views() -> list[View]:
        return [new_view(log, state), new_view(log, state, 1, "items", "items")]

    run(build("count", views(), lambda: log, stop_at_head=True))
    written(log, "a", 0)
    run(build("count", views(), lambda: log, stop_at_head=True))

    assert counts(state, 0) == {"a": 51, "b": 50, "c": 50, "x": 5}
    assert counts(state, 1) == {"a": 30, "b": 30}
    assert len(sent(log)) == 2 * (150 + 60 + 5) + 1  # each claim sends the last commit's messages again


def test_what_a_newer_program_wrote_is_left_to_its_owner(log: Any, state: Any) -> None:
    owner = open_view(log, state)
    owner.step(written(log, "a"))()
    newer = decode_checkpoint(state.port.checkpoint("count", 0))
    newer.step_version = STEP_VERSION + 1
    claim = state.port.claim("count", 0)
    state.port.commit("count", 0, claim.generation, {}, encode_checkpoint(newer))

    with pytest.raises(NewerVersion, match="run the newer program"):
        open_view(log, state)

    state.port.commit("count", 0, claim.generation, {}, encode_checkpoint(newer))  # it is still the owner
