from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from flows.state import catalogue_view, state_view
from flows.view import build, run
from online.adapters.memory_state import MemoryState
from online.core.catalogue import ITEM_DOCUMENT, ITEMS
from online.core.dead_letter import DEAD
from online.core.item_stats import decode_item_stats
from online.core.item_table import ItemTable
from online.core.partition import EVENTS, ITEM, USER, USERS, PartitionFold, partition_of
from online.core.update import UPDATES, decode_update
from online.ports import Batch
from replay.traffic import random_event
from schemas.event import encode_event
from schemas.item import Item, encode_item
from schemas.user import User, encode_user

T0 = 1_700_000_000.0
PARTITIONS = 2


def fill(log: Any, events: int, seed: int) -> None:
    """Append events (one in fifty twice, one in a hundred broken), user documents and items."""
    rng = random.Random(seed)
    for number in range(events):
        event = random_event(rng, T0 + seed * 1e5 + number, users=60, items=50)
        partition = partition_of(event.user_key, PARTITIONS)
        payload = encode_event(event)
        log.port.append(EVENTS, [(partition, payload)] * rng.choices([1, 2], [49, 1])[0])
        if number % 100 == 50:
            log.port.append(EVENTS, [(partition, payload[:-9])])
        if number % 40 == 0:
            user = User(user_id=str(number % 60), updated_at=T0 + number, labels=[f"l{number}"])
            partition = partition_of(f"u{user.user_id}", PARTITIONS)
            log.port.append(USERS, [(partition, encode_user(user))])
            item = Item(item_id=f"item-{number % 50}", updated_at=T0 + number, created_at=T0)
            log.port.append(ITEMS, [(0, encode_item(item))])


def messages(log: Any, topic: str, partition: int) -> Any:
    batches = log.port.read({(topic, partition): ""}, max_messages=1_000_000, wait_s=0.0)
    return [message for batch in batches for message in batch.messages]


def one_by_one(log: Any) -> dict[tuple[int, str], dict[str, bytes]]:
    """Fold events one by one, without flow, batches or restarts."""
    oracle = MemoryState()
    for partition in range(PARTITIONS):
        claim = oracle.claim("state", partition)
        fold = PartitionFold(partition, lambda family, keys, p=partition: oracle.get_many(p, family, keys))  # type: ignore[misc]
        for topic in (EVENTS, USERS):
            for number, message in enumerate(messages(log, topic, partition)):
                folded = fold.fold(Batch(topic, partition, [message]), number)
                oracle.commit("state", partition, claim.generation, folded.writes, b"")
    return contents(oracle)


def contents(state: Any) -> dict[tuple[int, str], dict[str, bytes]]:
    return {(p, family): dict(state.scan(p, family)) for p in range(PARTITIONS) for family in (USER, ITEM)}


def run_flow(log: Any, state: Any) -> None:
    views = [state_view(state=state, log=log, partitions=PARTITIONS), catalogue_view(state=state, log=log)]
    run(build("state", views, lambda: log, stop_at_head=True))


def test_the_dataflow_over_restarts_equals_the_one_by_one_fold(switched_log: Any, switched_state: Any) -> None:
    for seed in (1, 2):
        fill(switched_log, 1500, seed)
        run_flow(switched_log, switched_state)

    expected = one_by_one(switched_log)
    assert contents(switched_state.port) == expected
    assert all(len(records) > 10 for records in expected.values())


def test_a_flow_that_has_nothing_to_read_changes_nothing(switched_log: Any, switched_state: Any) -> None:
    fill(switched_log, 300, 1)
    run_flow(switched_log, switched_state)
    before = contents(switched_state.port)

    run_flow(switched_log, switched_state)

    assert contents(switched_state.port) == before


def test_updates_carry_the_item_aggregates_to_the_workers(switched_log: Any, switched_state: Any) -> None:
    fill(switched_log, 1000, 3)
    run_flow(switched_log, switched_state)
    followed, loaded = ItemTable(PARTITIONS), ItemTable(PARTITIONS)

    for message in messages(switched_log, UPDATES, 0):
        followed.apply(decode_update(message.payload))
    for partition in range(PARTITIONS):
        for item_id, payload in switched_state.port.scan(partition, ITEM):
            loaded.put_statistics(partition, item_id, decode_item_stats(payload))

    rows = [loaded.ids.codes[name] for name in followed.ids.names]
    np.testing.assert_array_equal(followed.totals[: len(followed)], loaded.totals[rows])
    assert len(followed) > 20


def test_the_catalogue_view_holds_the_last_document_of_each_item(switched_log: Any, switched_state: Any) -> None:
    fill(switched_log, 600, 1)
    run_flow(switched_log, switched_state)

    last = {}
    for message in messages(switched_log, ITEMS, 0):
        last[message.payload.split(b'"')[3].decode()] = message.payload
    assert dict(switched_state.port.scan(0, ITEM_DOCUMENT)) == last


def test_what_is_no_event_is_dead_lettered_once(switched_log: Any, switched_state: Any) -> None:
    fill(switched_log, 500, 1)
    run_flow(switched_log, switched_state)
    run_flow(switched_log, switched_state)

    letters = messages(switched_log, DEAD, 0)
    assert len({message.payload for message in letters}) == 5
    assert len(letters) < 10


@pytest.mark.parametrize("fails", [1, 5])
def test_outages_are_waited_for(
    switched_log: Any, switched_state: Any, fails: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.view.RETRY_S", 0.001)
    monkeypatch.setattr("flows.log_source.RETRY_S", 0.001)
    fill(switched_log, 300, 1)
    switched_log.fail_times = switched_state.fail_times = fails

    run_flow(switched_log, switched_state)

    assert contents(switched_state.port) == one_by_one(switched_log)
