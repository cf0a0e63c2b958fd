"""What the tests of the proofs share: a log with a bit of everything in memory, folded by the real views."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from example_slate import example_slate

from flows.learn import join_view
from flows.state import STATE_VIEW, catalogue_view, letters_view, state_view
from flows.view import View, adopt_all
from headrace.process import create_topics
from headrace.verify.witness import Seen, seen_now
from online.adapters.memory_log import MemoryLog
from online.adapters.memory_state import MemoryState
from online.core.catalogue import ITEMS
from online.core.features import NAMES
from online.core.join import SLATES
from online.core.partition import EVENTS, USERS, partition_of
from online.topics import SINGLE_TOPICS, USER_TOPICS
from replay.traffic import as_guest, random_event, random_merge
from schemas.event import Event, EventItem, encode_event
from schemas.identity import encode_identity
from schemas.item import Item, encode_item
from schemas.slate import Slate, encode_slate
from schemas.user import User, encode_user

PARTITIONS, NOW, WINDOW_S = 2, 1_767_225_600.0, 60.0
EVENTS_SENT, SHOWN = 200, ("a", "b", "c")
POISON = b"\xff no event"


@dataclass
class Run:
    """A log and the views of it; `acknowledged` are ids of events, `answered` of recommendations."""

    log: MemoryLog
    state: MemoryState
    acknowledged: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)

    @property
    def seen(self) -> Seen:
        """Everything there is in the log."""
        return seen_now(self.log, {**dict.fromkeys(USER_TOPICS, PARTITIONS), **dict.fromkeys(SINGLE_TOPICS, 1)})

    def overwrite(self, partition: int, family: str, key: str, value: bytes | None) -> None:
        """Put another value in the place of a record, or none."""
        claim = self.state.claim(STATE_VIEW, partition)
        self.state.commit(STATE_VIEW, partition, claim.generation, {family: {key: value}}, claim.checkpoint or b"")

    def without(self, topic: str, position: str) -> Seen:
        """Return the log less one message."""
        seen = self.seen
        return {
            key: [m for m in messages if key[0] != topic or m.position != position] for key, messages in seen.items()
        }


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A directory for temporary files, so that other runs' are not taken for ours."""
    with tempfile.TemporaryDirectory(prefix="hr-") as directory:  # short: a socket lies in it
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield directory


@pytest.fixture
def run() -> Run:
    log, state, rng = MemoryLog(), MemoryState(), random.Random(3)
    create_topics(log, PARTITIONS)
    made = Run(log, state)
    log.append(ITEMS, [(0, encode_item(Item(item_id=f"item-{i}", updated_at=NOW, created_at=NOW))) for i in range(9)])
    for shopper in range(6):
        _shop(made, f"shopper-{shopper}", f"{shopper}")
    events = [random_event(rng, NOW + i, users=40, items=30) for i in range(EVENTS_SENT)]
    events = [as_guest(event) if i % 3 == 0 else event for i, event in enumerate(events)]
    half, twice = EVENTS_SENT // 2, events[5::10]  # some clients send twice
    for some in (events[:half], events[half:] + twice):
        log.append(EVENTS, [(partition_of(e.user_key, PARTITIONS), encode_event(e)) for e in some])
        merges = [random_merge(rng, NOW + EVENTS_SENT, users=40) for _ in range(20)]
        log.append(EVENTS, [(partition_of(m.visitor_key, PARTITIONS), encode_identity(m)) for m in merges])
    log.append(EVENTS, [(1, POISON)])
    log.append(USERS, [(partition_of("u3", PARTITIONS), encode_user(User(user_id="3", updated_at=NOW, labels=["x"])))])
    made.acknowledged += [event.event_id for event in events]
    _fold(log, state)
    return made


def _shop(run: Run, user: str, name: str) -> None:
    """Show a slate and have one of its items clicked; those of the first four are over when the rest comes."""
    at = NOW - 2 * WINDOW_S if name < "4" else NOW + EVENTS_SENT
    partition = partition_of(f"u{user}", PARTITIONS)
    run.log.append(SLATES, [(partition, encode_slate(_slate(f"r{name}", user, partition, at)))])
    run.answered.append(f"r{name}")
    click = Event(
        event_id=f"click-{name}",
        event_type="click",
        timestamp=at + 1,
        received_at=NOW + EVENTS_SENT,
        user_id=user,
        items=[EventItem("b")],
        recommendation_id=f"r{name}",
    )
    run.log.append(EVENTS, [(partition, encode_event(click))])
    run.acknowledged.append(click.event_id)


def _slate(recommendation_id: str, user: str, partition: int, at: float) -> Slate:
    return example_slate(
        recommendation_id=recommendation_id,
        partition=partition,
        user_key=f"u{user}",
        time=at,
        n=len(SHOWN),
        model_version="3",
        candidates=list(SHOWN),
        feature_names=list(NAMES),
        features=np.ones((len(SHOWN), len(NAMES)), np.float32).tobytes(),
        utilities=np.zeros(len(SHOWN)).tobytes(),
        groups=np.zeros((len(SHOWN), 2), np.int32).tobytes(),
        eligible=np.ones(len(SHOWN), np.uint8).tobytes(),
        sources=np.zeros(len(SHOWN), np.uint8).tobytes(),
        slots=list(range(len(SHOWN))),
        propensities=[0.5] * len(SHOWN),
        ope_valid=True,
    )


def _fold(log: MemoryLog, state: MemoryState) -> None:
    """Fold all there is into every view, slates before events, in small batches."""
    views: list[View] = [
        join_view(state=state, log=log, partitions=PARTITIONS, window_s=WINDOW_S),
        state_view(state=state, log=log, partitions=PARTITIONS),
        catalogue_view(state=state, log=log),
        letters_view(state=state, log=log, partitions=PARTITIONS),
    ]
    for view in adopt_all(views):
        for topic in sorted(view.topics, key=lambda topic: topic != SLATES):
            _fold_topic(view, topic, log)
    for view in views:  # what they sent one another
        for topic in view.topics:
            _fold_topic(view, topic, log)


def _fold_topic(view: View, topic: str, log: MemoryLog) -> None:
    after = {key: position for key, position in view.positions().items() if key[0] == topic}
    while batches := log.read(after, max_messages=20, wait_s=0.0):
        for batch in batches:
            after[batch.topic, batch.partition] = batch.messages[-1].position
            view.step(batch)()
