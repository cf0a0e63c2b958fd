"""Compare the state view, its updates and the small views with the oracle's single pass over the same log.

Equal means equal bytes: records and item aggregates are the same fold of the same log, whatever was killed in between.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from headrace.verify.oracle import Oracle
from headrace.verify.outcome import Outcome
from headrace.verify.witness import Seen
from online.core.catalogue import ITEM_DOCUMENT, ITEMS, CatalogueFold
from online.core.dead_letter import DEAD, DeadLetter, decode_dead_letter
from online.core.entry import read_entry
from online.core.foldable import Unfoldable
from online.core.item_stats import ItemStats, encode_item_stats
from online.core.letters import LETTER, LETTER_BYTES
from online.core.partition import EVENTS, ITEM, USER, USERS
from online.core.record import decode_record
from online.core.update import UPDATES, SessionTouch, decode_update
from online.ports import Batch, Message, StateStore
from replay.refold import differing
from schemas.event import Event, decode_event
from schemas.identity import Absorb, Forwarded, Merge, decode_identity


def compare_state(
    outcome: Outcome, seen: Seen, state: StateStore, partitions: int, acknowledged: Collection[str]
) -> list[DeadLetter]:
    """Fill in by how much log and state view differ from what was acknowledged and from the oracle.

    Returns:
        The letters that the oracle wrote.
    """
    oracles = [_folded(seen, partition, partitions) for partition in range(partitions)]
    for partition, oracle in enumerate(oracles):
        stored = {family: dict(state.scan(partition, family)) for family in (USER, ITEM)}
        outcome.records_different += sum(differing(oracle.records[f], stored[f]) for f in (USER, ITEM))
    outcome.events = len(set(acknowledged))
    outcome.lost, outcome.doubled = _miscounted(seen, state, partitions, acknowledged)
    outcome.updates_different = _updates_different(seen.get((UPDATES, 0), ()), oracles)
    outcome.identity_different = _identity_different(seen, oracles)
    return [letter for oracle in oracles for letter in oracle.letters]


def _folded(seen: Seen, partition: int, partitions: int) -> Oracle:
    oracle = Oracle(partition, partitions)
    for topic in (EVENTS, USERS):
        for message in seen.get((topic, partition), ()):
            oracle.fold(message, topic)
    return oracle


def _miscounted(seen: Seen, state: StateStore, partitions: int, acknowledged: Collection[str]) -> tuple[int, int]:
    """Return how many events were lost, acknowledged or logged, and how many count more than once.

    Counted by hand, not by the fold: every distinct event once, for the user whom its visitor became, if any did.
    """
    logged: defaultdict[str, set[str]] = defaultdict(set)
    counted: Counter[str] = Counter()
    owners: dict[str, str] = {}
    events: list[tuple[str, str]] = []
    for partition in range(partitions):
        for key, said in _entries(seen.get((EVENTS, partition), ())):
            if isinstance(said, Merge):
                owners[said.visitor_key] = said.target_key
            elif isinstance(said, Event):
                events.append((key, said.event_id))
        for key, value in state.scan(partition, USER):
            record = decode_record(value)
            if record.forward is None:  # else its user's record has taken it over
                counted[key] += sum(record.counts.values())
    for key, event_id in events:
        logged[owners.get(key, key)].add(event_id)
    gaps = [len(logged[key]) - counted[key] for key in logged.keys() | counted.keys()]
    unlogged = set(acknowledged).difference(*logged.values())
    return len(unlogged) + sum(gap for gap in gaps if gap > 0), -sum(gap for gap in gaps if gap < 0)


def _entries(messages: Iterable[Message]) -> Iterable[tuple[str, object]]:
    for message in messages:
        try:
            _, key, said = read_entry(message)
        except (msgspec.MsgspecError, Unfoldable):  # a dead letter
            continue
        yield key, said


def _updates_different(messages: Sequence[Message], oracles: Sequence[Oracle]) -> int:
    """Count what a follower of the updates topic would hold otherwise than the oracles."""
    applied: dict[int, int] = {}
    followed: dict[tuple[int, str], ItemStats] = {}
    seen: Counter[SessionTouch] = Counter()
    for message in messages:
        update = decode_update(message.payload)
        if update.seq <= applied.get(update.partition, 0):
            continue
        applied[update.partition] = update.seq
        followed.update({(update.partition, item): stats for item, stats in update.items.items()})
        seen.update(update.touches)
    touches = Counter(touch for oracle in oracles for touch in oracle.touches)
    items = {(p, key): value for p, oracle in enumerate(oracles) for key, value in oracle.records[ITEM].items()}
    encoded = {key: encode_item_stats(stats) for key, stats in followed.items()}
    return differing(encoded, items) + ((touches - seen) + (seen - touches)).total()


def _identity_different(seen: Seen, oracles: Sequence[Oracle]) -> int:
    """Count what merges should have sent and did not, and what they sent without a reason; repeats are no matter."""
    expected = {sent for oracle in oracles for sent in oracle.sent}
    found = {
        (partition, message.payload)
        for (topic, partition), messages in seen.items()
        if topic == EVENTS
        for message in messages
        if _is_sent_by_a_merge(message.payload)
    }
    return len(expected ^ found)


def _is_sent_by_a_merge(payload: bytes) -> bool:
    try:
        is_one = decode_event(payload).event_type in ("absorb", "forwarded")
        return is_one and isinstance(decode_identity(payload), (Absorb, Forwarded))
    except msgspec.MsgspecError:
        return False


def compare_catalogue(outcome: Outcome, seen: Seen, state: StateStore) -> None:
    """Fill in how many item documents differ from the last ones of the log."""
    expected: Mapping[str, bytes | None] = {}
    if messages := seen[ITEMS, 0]:
        expected = CatalogueFold().fold(Batch(ITEMS, 0, list(messages)), 1).writes[ITEM_DOCUMENT]
    outcome.catalogue_different = differing(expected, dict(state.scan(0, ITEM_DOCUMENT)))


def compare_letters(outcome: Outcome, seen: Seen, state: StateStore, expected: Sequence[DeadLetter]) -> None:
    """Fill in how many dead letters are missing, wrong or of no message, in the topic and in the view."""
    wanted = {letter.id: letter.payload for letter in expected}
    sent: dict[str, bytes] = {}
    for message in seen[DEAD, 0]:
        letter = decode_dead_letter(message.payload)
        sent[letter.id] = letter.payload
    filed = dict(state.scan(0, LETTER_BYTES))
    listed = dict.fromkeys((key for key, _ in state.scan(0, LETTER)), b"")
    outcome.letters = len(wanted)
    outcome.letters_different = (
        differing(wanted, sent) + differing(wanted, filed) + differing(dict.fromkeys(wanted, b""), listed)
    )
