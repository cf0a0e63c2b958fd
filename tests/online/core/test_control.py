from __future__ import annotations

from typing import Any

import pytest

from online.core.control import (
    CONTROL,
    CONTROL_ENTRY,
    MOST_DONE,
    MOST_VERSIONS,
    ControlEntry,
    ControlFold,
    Done,
    changed,
    decode_entry,
    encode_entry,
)
from online.core.dead_letter import DEAD
from online.ports import Batch, Message
from schemas.control import ControlChange, encode_change


def put(revision: int, tau: float = 0.5, **fields: Any) -> ControlChange:
    return ControlChange(kind="policy", id="p/1", revision=revision, document={"tau": tau}, by="ann", at=5.0, **fields)


def back(revision: int) -> ControlChange:
    return ControlChange(kind="policy", id="p/1", revision=revision, is_rollback=True, by="bob", at=6.0, reason="bad")


def folded(*changes: ControlChange) -> ControlEntry:
    entry = ControlEntry()
    for change in changes:
        entry = changed(entry, change)
    return entry


def numbers(entry: ControlEntry) -> list[int]:
    return [version.number for version in entry.versions]


def test_each_put_is_a_new_version_and_rollbacks_go_back_one_by_one() -> None:
    assert numbers(folded(put(1), put(2), put(3))) == [1, 2, 3]
    assert numbers(folded(put(1), put(2), put(3), back(4))) == [1, 2]
    assert numbers(folded(put(1), put(2), put(3), back(4), back(5))) == [1]
    assert numbers(folded(put(1), put(2), back(3), put(4))) == [1, 3]
    assert numbers(folded(put(1), put(2), back(3), put(4), back(5))) == [1]
    assert numbers(folded(put(1), back(2), back(3))) == []


def test_a_document_that_was_taken_away_comes_back_by_a_rollback() -> None:
    gone = folded(put(1), ControlChange(kind="policy", id="p/1", revision=2, at=6.0))

    assert gone.current is not None
    assert gone.current.document is None
    restored = changed(gone, back(3)).current
    assert restored is not None
    assert restored.document == {"tau": 0.5}


@pytest.mark.parametrize("revision", [0, 1, 3, 4])
def test_a_change_that_does_not_follow_the_last_one_changes_nothing(revision: int) -> None:
    entry = folded(put(1))

    assert changed(entry, put(revision, tau=9.0)) is entry


def test_what_was_done_is_kept_with_who_when_and_why() -> None:
    assert folded(put(1), put(2), back(3)).done == (
        Done(1, "put", 1, "ann", 5.0),
        Done(2, "put", 2, "ann", 5.0),
        Done(3, "rollback", 1, "bob", 6.0, "bad"),
    )


def test_an_entry_is_bounded_and_survives_its_encoding() -> None:
    entry = folded(*(put(revision) for revision in range(1, 100)))

    assert (len(entry.versions), len(entry.done)) == (MOST_VERSIONS, MOST_DONE)
    assert (entry.newest, entry.revision) == (99, 99)
    assert decode_entry(encode_entry(entry)) == entry


def test_the_view_folds_batches_whose_commits_come_later_and_goes_on_from_what_is_stored() -> None:
    stored: dict[str, bytes | None] = {}
    first, second = ControlFold(lambda family, keys: [stored.get(key) for key in keys]), None
    once = first.fold(batch(put(1)), 1).writes[CONTROL_ENTRY]
    twice = first.fold(batch(put(2), put(2)), 2).writes[CONTROL_ENTRY]
    stored |= once
    second = ControlFold(lambda family, keys: [stored.get(key) for key in keys])

    assert list(once) == ["policy/p/1"]
    assert second.fold(batch(put(2), put(2)), 3).writes[CONTROL_ENTRY] == twice
    assert numbers(decode_entry(twice["policy/p/1"])) == [1, 2]


def test_what_is_no_change_is_dead_lettered_and_the_rest_is_folded() -> None:
    messages = [Message("1", b"?"), Message("2", encode_change(put(1)))]

    result = ControlFold(lambda family, keys: [None] * len(keys)).fold(Batch(CONTROL, 0, messages), 1)

    assert [topic for topic, _, _ in result.outbox] == [DEAD]
    assert list(result.writes[CONTROL_ENTRY]) == ["policy/p/1"]


def batch(*changes: ControlChange) -> Batch:
    return Batch(CONTROL, 0, [Message(str(i), encode_change(change)) for i, change in enumerate(changes)])
