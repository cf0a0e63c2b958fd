"""Visitors become users: every event counts once, for the right user, whatever is repeated, late or killed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from math import inf
from typing import Any, NamedTuple

import pytest

from flows.state import state_view
from flows.view import View, adopt_all
from online.core.checkpoint import decode_checkpoint
from online.core.item_stats import decode_item_stats
from online.core.partition import EVENTS, ITEM, USER, PartitionFold, partition_of
from online.core.record import UserRecord, decode_record
from online.core.step import FoldConfig, fold_event, is_duplicate, sum_up
from online.core.update import UPDATES, decode_update
from online.ports import START, Batch
from replay.traffic import random_event
from schemas.event import Event, encode_event, user_key
from schemas.identity import accept_merge, encode_identity

PARTITIONS = 2
T0 = 1_700_000_000.0
EVERY_S = 9000.0  # between what is said: in all, over more than one cell of the landmark's grid
CHUNK = 50  # said at once: less than the dedup horizon
CONFIG = FoldConfig(influence=inf)  # a cap of which none of this is to speak


class Merged(NamedTuple):
    """A merge of the script."""

    visitor: str
    user: str
    at: float


def script(seed: int, length: int = 400) -> Iterator[Event | Merged]:
    """Yield events of users and visitors, a tenth of them twice, and merges, some of them repeated or contradicted."""
    rng = random.Random(seed)
    for number in range(length):
        now = T0 + number * EVERY_S
        if rng.random() < 0.08:
            merge = Merged(f"g{rng.randrange(8)}", str(rng.randrange(4)), now)
            yield from [merge] * rng.choice([1, 1, 2])
            continue
        event = random_event(rng, now, users=12, items=20)
        guest = int(event.user_id or 0) - 4
        if guest >= 0:
            event.user_id, event.visitor_id = None, f"g{guest}"
        yield from [event] * rng.choice([1] * 9 + [2])


def owners(said: list[Event | Merged]) -> dict[str, list[Event]]:
    """Say by which user key every event is to count: what a reader of the script would say."""
    first: dict[str, str] = {}
    for one in said:
        if isinstance(one, Merged):
            first.setdefault(one.visitor, one.user)
    now: dict[str, str] = {}
    owned: dict[str, list[Event]] = defaultdict(list)
    for one in said:
        if isinstance(one, Merged):
            now[one.visitor] = one.user
            continue
        visitor = one.visitor_id or ""
        user = one.user_id or now.get(visitor) or first.get(visitor)
        owned[user_key(user, visitor)].append(one)
    return owned


def posted(log: Any, said: list[Event | Merged]) -> None:
    for number, one in enumerate(said):
        if isinstance(one, Merged):
            merge = accept_merge(user_id=one.user, visitor_id=one.visitor, event_id=f"m{number}", now=one.at)
            key, payload = merge.visitor_key, encode_identity(merge)
        else:
            key, payload = one.user_key, encode_event(one)
        log.append(EVENTS, [(partition_of(key, PARTITIONS), payload)])


class Killed(Exception):
    """The process ended here."""


class Killing:
    """A port whose calls of one method now and then end the process, before or after they took effect."""

    def __init__(self, port: Any, method: str, rng: random.Random, chance: float) -> None:
        self._port, self._method, self._rng, self._chance = port, method, rng, chance
        self.kills = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            dies = name == self._method and self._rng.random() < self._chance
            is_before = self._rng.random() < 0.5
            result = None if dies and is_before else method(*args, **kwargs)
            if dies:
                self.kills += 1
                raise Killed
            return result

        return call


def owner(log: Any, state: Any) -> View:
    view = state_view(state=state, log=log, partitions=PARTITIONS, config=CONFIG)
    adopt_all([view])
    return view


def run(log: Any, state: Any) -> None:
    """Run the state view until everything is folded, starting anew after each kill."""
    while True:
        try:
            view = owner(log, state)
            while batches := log.read(view.positions(), max_messages=7, wait_s=0.0):
                for one in batches:
                    view.step(one)()
        except Killed:
            continue
        else:
            return


def records(state: Any) -> dict[str, UserRecord]:
    return {key: decode_record(value) for p in range(PARTITIONS) for key, value in state.scan(p, USER)}


def folded(events: list[Event]) -> UserRecord:
    record = UserRecord()
    for event in events:
        if not is_duplicate(record, event, CONFIG):
            landmark = CONFIG.decay.landmark(event.timestamp)
            fold_event(record, event, CONFIG.decay.at(event.timestamp, landmark), landmark, CONFIG)
    return record


def by_key(record: UserRecord, now: float) -> list[dict[str, Any]]:
    decay = CONFIG.decay
    return [
        {key: pytest.approx(decay.now(w, now, record.landmark), rel=1e-9, abs=1e-9) for key, w in table.items()}
        for table in record.affinities
    ]


def item_counts(state: Any, now: float) -> dict[str, float]:
    """Return what all partitions count of each item, as it counts now."""
    counts: dict[str, float] = defaultdict(float)
    for partition in range(PARTITIONS):
        for item, value in state.scan(partition, ITEM):
            stats = decode_item_stats(value)
            counts[item] += sum(stats.counts.values()) * CONFIG.decay.fading(now, stats.landmark)[-1]
    return counts


def events_of(log: Any, partition: int) -> Batch | None:
    return next(iter(log.read({(EVENTS, partition): START}, max_messages=10**6, wait_s=0.0)), None)


def appended(log: Any) -> int:
    return sum(len(batch.messages) for p in range(PARTITIONS) if (batch := events_of(log, p)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("killed", ["nothing", "append", "commit"])
def test_every_event_counts_once_for_the_user_its_visitor_became(
    new_ports: Callable[[], tuple[Any, Any]], seed: int, killed: str
) -> None:
    switched_log, switched_state = new_ports()
    log, state = switched_log.port, switched_state.port
    said = list(script(seed))
    expected = owners(said)
    rng = random.Random(seed)
    dying_log = Killing(log, "append" if killed == "append" else "", rng, 0.3)
    dying_state = Killing(state, "commit" if killed == "commit" else "", rng, 0.3)
    for at in range(0, len(said), CHUNK):  # what follows a merge comes before, while and after it is absorbed
        posted(log, said[at : at + CHUNK])
        run(dying_log, dying_state)

    assert (dying_log.kills + dying_state.kills > 10) == (killed != "nothing")
    now = said[-1].at if isinstance(said[-1], Merged) else said[-1].timestamp
    found = {key: sum_up(record, CONFIG) for key, record in records(state).items()}
    assert sum(record.forward is not None for record in found.values()) == len(
        {one.visitor for one in said if isinstance(one, Merged)}
    )
    for key, events in expected.items():
        alone, record = sum_up(folded(events), CONFIG), found[key]
        assert record.counts == alone.counts, key
        assert [dict(table) for table in by_key(alone, now)] == [
            {k: CONFIG.decay.now(w, now, record.landmark) for k, w in table.items()} for table in record.affinities
        ]
        assert (record.seen, record.purchased, record.hidden) == (alone.seen, alone.purchased, alone.hidden)

    distinct = {event.event_id: event for event in said if isinstance(event, Event)}.values()
    counted = Counter[str]()
    for event in distinct:
        for item in event.items:
            counted[item.item_id] += CONFIG.decay.at(event.timestamp, now)[-1]  # type: ignore[assignment]
    assert item_counts(state, now) == pytest.approx(counted, rel=1e-9)
    assert_equal_to_its_log(log, state)


def assert_equal_to_its_log(log: Any, state: Any) -> None:
    """Fold the log anew, each partition for itself and sending nothing: the same bytes, and the same sessions told."""
    touches = Counter[Any]()
    for partition in range(PARTITIONS):
        batch = events_of(log, partition)
        again: dict[tuple[str, str], bytes] = {}
        fold = PartitionFold(
            partition, lambda family, keys, again=again: [again.get((family, k)) for k in keys], CONFIG
        )  # type: ignore[misc]
        done = fold.fold(batch, 1) if batch else None
        for family in (USER, ITEM):
            assert dict(state.scan(partition, family)) == (done.writes[family] if done else {})
        for topic, _, payload in done.outbox if done else ():
            assert topic == UPDATES
            touches.update(decode_update(payload).touches)
    told, seen = Counter[Any](), dict.fromkeys(range(PARTITIONS), 0)
    for batch in log.read({(UPDATES, 0): START}, max_messages=10**6, wait_s=0.0):
        for message in batch.messages:
            update = decode_update(message.payload)
            if update.seq > seen[update.partition]:
                seen[update.partition] = update.seq
                told.update(update.touches)
    assert told == touches


def guest(number: int, at: float, **fields: Any) -> Event:
    event = random_event(random.Random(number), T0 + at, items=5)
    event.user_id, event.visitor_id, event.event_type = None, "g", "click"
    for name, value in fields.items():
        setattr(event, name, value)
    return event


@pytest.fixture
def ports(new_ports: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
    log, state = new_ports()
    return log.port, state.port


def test_a_repeated_merge_changes_nothing(ports: tuple[Any, Any]) -> None:
    log, state = ports
    posted(log, [guest(1, 0.0), Merged("g", "7", T0 + 5)])
    run(log, state)
    before = [dict(state.scan(p, USER)) for p in range(PARTITIONS)]
    sent = appended(log)

    posted(log, [Merged("g", "7", T0 + 9), Merged("g", "7", T0 + 5)])
    run(log, state)

    assert [dict(state.scan(p, USER)) for p in range(PARTITIONS)] == before
    assert appended(log) == sent + 2


def test_a_merge_of_a_visitor_never_seen_forwards_what_comes(ports: tuple[Any, Any]) -> None:
    log, state = ports
    posted(log, [Merged("g", "7", T0), guest(1, 5.0), guest(2, 6.0)])

    run(log, state)

    assert records(state)["u7"].counts == {2: 2}
    assert records(state)["vg"].counts == {}


def test_a_second_merge_moves_later_events_only(ports: tuple[Any, Any]) -> None:
    log, state = ports
    posted(log, [guest(1, 0.0), Merged("g", "7", T0 + 1), guest(2, 2.0), Merged("g", "8", T0 + 3), guest(3, 4.0)])

    run(log, state)

    assert (records(state)["u7"].counts, records(state)["u8"].counts) == ({2: 2}, {2: 1})


def test_a_merge_that_comes_late_does_not_undo_a_newer_one(ports: tuple[Any, Any]) -> None:
    log, state = ports
    posted(log, [Merged("g", "8", T0 + 3), Merged("g", "7", T0 + 1), guest(3, 4.0)])

    run(log, state)

    assert records(state)["u8"].counts == {2: 1}
    assert "u7" not in records(state)


def test_a_visitor_and_a_user_of_the_same_id_are_two(ports: tuple[Any, Any]) -> None:
    log, state = ports
    posted(log, [guest(1, 0.0), Merged("g", "g", T0 + 1), guest(2, 2.0)])

    run(log, state)

    found = {key: sum_up(record, CONFIG) for key, record in records(state).items()}
    assert (found["ug"].counts, found["vg"].counts) == ({2: 2}, {2: 1})


def test_an_event_known_before_the_merge_is_known_to_the_user_after_it(ports: tuple[Any, Any]) -> None:
    log, state = ports
    event = guest(1, 0.0)
    as_user = guest(1, 0.0, user_id="7")
    posted(log, [event, Merged("g", "7", T0 + 1)])
    run(log, state)
    posted(log, [event, as_user])

    run(log, state)

    assert records(state)["u7"].counts == {2: 1}


def test_what_a_kill_left_unsent_is_sent_by_the_next_owner(ports: tuple[Any, Any]) -> None:
    log, state = ports
    posted(log, [guest(1, 0.0), Merged("g", "7", T0 + 1), guest(2, 2.0)])
    view = owner(Killing(log, "append", random.Random(1), 1.0), state)
    (batch,) = log.read(view.positions(), max_messages=10, wait_s=0.0)
    with pytest.raises(Killed):
        view.step(batch)()
    committed = decode_checkpoint(state.checkpoint("state", batch.partition))
    assert [topic for topic, _, _ in committed.outbox if topic == EVENTS] == [EVENTS] * 2
    assert "u7" not in records(state)

    run(log, state)
    run(log, state)  # what was committed last is sent once more

    assert records(state)["u7"].counts == {2: 2}


def test_an_owner_that_comes_after_the_dedup_horizon_sends_no_event_again(ports: tuple[Any, Any]) -> None:
    log, state = ports
    horizon = float(CONFIG.dedup_horizon_s)
    posted(log, [Merged("g", "7", T0), guest(1, 5.0)])
    run(log, state)
    posted(log, [guest(number, number * horizon, user_id="7") for number in (2, 3)])
    run(log, state)

    run(log, state)

    assert records(state)["u7"].counts == {2: 3}
