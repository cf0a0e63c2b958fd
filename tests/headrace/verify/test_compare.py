from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from headrace.verify.compare import compare_catalogue, compare_letters, compare_state
from headrace.verify.outcome import Outcome
from headrace.verify.witness import Seen
from online.core.catalogue import ITEM_DOCUMENT
from online.core.dead_letter import DEAD
from online.core.item_stats import decode_item_stats, encode_item_stats
from online.core.letters import LETTER, LETTER_BYTES
from online.core.partition import EVENTS, ITEM, USER, partition_of
from online.core.record import UserRecord, decode_record, encode_record
from online.core.update import UPDATES, Update, decode_update, encode_update
from online.ports import Message
from replay.traffic import random_event
from schemas.event import decode_event, encode_event

PARTITIONS, NOW = 2, 1_767_225_600.0


def compared(run: Any, seen: Seen | None = None) -> Outcome:
    seen, outcome = run.seen if seen is None else seen, Outcome()
    letters = compare_state(outcome, seen, run.state, PARTITIONS, run.acknowledged)
    compare_catalogue(outcome, seen, run.state)
    compare_letters(outcome, seen, run.state, letters)
    return outcome


def change_a_record(run: Any, change: Callable[[UserRecord], None]) -> None:
    key, payload = next(entry for entry in run.state.scan(0, USER) if decode_record(entry[1]).forward is None)
    record = decode_record(payload)
    change(record)
    run.overwrite(0, USER, key, encode_record(record))


def with_updates(run: Any, payloads: list[bytes]) -> Seen:
    return {**run.seen, (UPDATES, 0): [Message(f"{i:09d}", payload) for i, payload in enumerate(payloads)]}


def updates(run: Any) -> list[bytes]:
    return [message.payload for message in run.seen[UPDATES, 0]]


def test_an_honest_run_is_correct(run: Any) -> None:
    outcome = compared(run)

    assert outcome.is_correct, outcome
    assert outcome.events == len(run.acknowledged) > 200
    assert outcome.letters == 1
    merged = [r for p in range(PARTITIONS) for _, r in run.state.scan(p, USER) if decode_record(r).forward is not None]
    assert len(merged) > 5


def test_an_acknowledged_event_that_is_not_in_the_log_is_lost(run: Any) -> None:
    run.acknowledged.append("gone")

    outcome = compared(run)

    assert outcome.lost == 1
    assert not outcome.is_correct


def test_an_event_that_is_in_no_record_is_lost(run: Any) -> None:
    event = random_event(random.Random(4), NOW + 999, users=40, items=30)
    run.log.append(EVENTS, [(partition_of(event.user_key, PARTITIONS), encode_event(event))])

    outcome = compared(run)

    assert outcome.lost == 1
    assert outcome.records_different > 0
    assert outcome.updates_different > 0


def test_an_event_counted_twice_is_doubled(run: Any) -> None:
    def count_again(record: UserRecord) -> None:
        record.counts[next(iter(record.counts))] += 1

    change_a_record(run, count_again)

    outcome = compared(run)

    assert (outcome.doubled, outcome.lost, outcome.records_different) == (1, 0, 1)


def test_a_record_that_differs_in_one_weight_is_found(run: Any) -> None:
    def nudge(record: UserRecord) -> None:
        touch = record.recent[0]
        record.recent[0] = msgspec.structs.replace(touch, weight=touch.weight * (1 + 1e-12))

    change_a_record(run, nudge)

    outcome = compared(run)

    assert (outcome.records_different, outcome.lost, outcome.doubled) == (1, 0, 0)


def test_a_record_of_nobody_is_found(run: Any) -> None:
    run.overwrite(1, USER, "unobody", encode_record(UserRecord()))

    assert compared(run).records_different == 1


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_wrong_or_missing_item_is_found(run: Any, is_gone: bool) -> None:
    key, payload = next(run.state.scan(1, ITEM))
    stats = decode_item_stats(payload)
    stats.last_time += 1.0
    run.overwrite(1, ITEM, key, None if is_gone else encode_item_stats(stats))

    outcome = compared(run)

    assert (outcome.records_different, outcome.updates_different) == (1, 0)


def test_an_update_sent_again_after_a_kill_is_no_difference(run: Any) -> None:
    sent = updates(run)

    assert compared(run, with_updates(run, [*sent, sent[-1]])).is_correct


def test_an_update_sent_again_under_a_new_number_is_found(run: Any) -> None:
    sent = updates(run)
    last = next(u for u in map(decode_update, reversed(sent)) if u.touches)
    again = encode_update(Update(last.partition, last.seq + 999, last.items, last.touches))

    assert compared(run, with_updates(run, [*sent, again])).updates_different >= len(last.touches)


def test_an_update_that_was_never_sent_is_found(run: Any) -> None:
    outcome = compared(run, with_updates(run, updates(run)[1:]))

    assert outcome.updates_different > 0
    assert (outcome.lost, outcome.doubled, outcome.records_different) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["absorb", "forwarded"])
def test_what_a_merge_never_sent_is_found(run: Any, kind: str) -> None:
    position = next(
        message.position
        for p in range(PARTITIONS)
        for message in run.seen[EVENTS, p]
        if message.payload.startswith(b"{") and decode_event(message.payload).event_type == kind
    )

    assert compared(run, run.without(EVENTS, position)).identity_different > 0


@pytest.mark.parametrize("value", [None, b"{}"])
def test_a_wrong_or_missing_item_document_is_found(run: Any, value: bytes | None) -> None:
    run.overwrite(0, ITEM_DOCUMENT, "item-3", value)

    assert compared(run).catalogue_different == 1


@pytest.mark.parametrize("family", [LETTER, LETTER_BYTES])
def test_a_dead_letter_that_is_not_filed_is_found(run: Any, family: str) -> None:
    run.overwrite(0, family, next(run.state.scan(0, LETTER))[0], None)

    assert compared(run).letters_different == 1


def test_a_dead_letter_that_was_never_sent_is_found(run: Any) -> None:
    assert compared(run, {**run.seen, (DEAD, 0): []}).letters_different == 1
