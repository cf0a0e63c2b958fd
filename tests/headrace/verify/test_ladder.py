from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from served_app import served

from headrace.api import TIMEOUT_S
from headrace.process import create_topics
from headrace.verify.asking import Answer
from headrace.verify.ladder import Figures, Outcome, figures, verify_ladder
from headrace.verify.proxied import through
from headrace.verify.proxy import BLACK_HOLE, HALF_OPEN, REFUSED, RESET, SOUND, Fault, FaultProxy
from online.adapters.exact_index import ExactIndex
from online.adapters.file_artifacts import FileArtifacts
from online.connect import open_log, open_state
from online.core.catalogue import ITEMS
from online.core.item_table import ItemTable
from online.core.join import SLATES
from online.core.partition import EVENTS, USER, partition_of
from online.core.record import decode_record
from online.dead_letters import DeadLetters
from online.ports import START, EventLog, StateStore
from online.vectors import read_vectors
from online.world import World
from replay.history import logged
from replay.http_system import HttpSystem
from schemas.event import Event, EventItem, decode_event, encode_event
from schemas.item import Item, encode_item
from schemas.slate import decode_slate
from serving.app import create_app
from serving.worker import STATE_DEADLINE_S, Ports, Worker

PARTITIONS, NOW = 2, time.time()
FAULTS = (Fault("late", delay_s=0.1), Fault("slow", bytes_per_s=2000.0), RESET, REFUSED, HALF_OPEN, BLACK_HOLE)


def answered(due: float, took: float = 0.01, **said: Any) -> Answer:
    return Answer(due, due + took, **{"rung": "personal", "slate": "s"} | said)


def test_figures_are_of_what_was_asked_for_while_it_lasted() -> None:
    asked = [
        answered(0.0, 9.0, rung="static"),  # before
        answered(1.0, 0.1, rung="session", why="a"),
        answered(2.0, 0.2, rung="popularity"),
        answered(3.5, 0.5, rung="session", why="a"),
        answered(9.0),
    ]
    told = [answered(2.0, 0.3, rung="", told=("e",)), Answer(2.5, 2.6, error="refused")]

    found = figures("x", asked, told, begin=1.0, end=3.0, normal=6.5)

    assert (found.slates, found.rungs, found.why) == (2, {"session": 1, "popularity": 1}, "a")
    assert (found.errors, found.tell_errors, found.error, found.unnamed) == (0, 1, "refused", 1)
    assert found.max_ms == pytest.approx(200.0)
    assert (found.normal_after_s, found.is_in_time) == (3.5, False)


@pytest.mark.parametrize("wrong", ["errors", "slates_lost", "slates_doubled", "events_lost", "events_doubled"])
def test_it_holds_only_with_everything_answered_named_and_kept_once(wrong: str) -> None:
    outcome = Outcome(faults=[Figures("x", slates=5, is_in_time=False)])

    assert outcome.is_correct
    assert not Outcome().is_correct
    assert not dataclasses.replace(outcome, **{wrong: 1}).is_correct
    assert not Outcome(faults=[Figures("x", unnamed=1)]).is_correct


@dataclass
class Recommender:
    """A worker that reaches its store and its log through proxies; `log` and `state` reach them directly."""

    api: HttpSystem
    log: EventLog
    state: StateStore
    to_state: FaultProxy
    to_log: FaultProxy
    worker: Worker
    fold: Callable[[], None]

    def ask(self) -> dict[str, Any]:
        return self.api.call("POST", "/v1/recommendations", {"user_id": "7", "n": 3})[1]

    def is_personal(self) -> bool:
        return self.ask()["fallback"] is None

    def clicks(self) -> int:
        """Return how many events count for the user, after folding what the log holds."""
        self.fold()
        payload = self.state.get(partition_of("u7", PARTITIONS), USER, "u7")
        return sum(decode_record(payload).counts.values()) if payload else 0


@pytest.fixture(scope="module")
def recommender(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory, fold_all: Callable[..., None]
) -> Iterator[Recommender]:
    directory, urls = tmp_path_factory.mktemp("ladder"), (new_database(), new_database())
    sockets = [unquote(urlsplit(url).path) for url in urls]
    log, state = open_log(urls[0]), open_state(urls[1])
    with closing(log), closing(state), FaultProxy(sockets[0]) as to_log, FaultProxy(sockets[1]) as to_state:
        create_topics(log, PARTITIONS)
        log.append(ITEMS, [(0, encode_item(Item(item_id=f"i{n}", updated_at=NOW, created_at=NOW))) for n in range(20)])
        said = {"event_id": "first", "event_type": "click", "timestamp": NOW, "received_at": NOW, "user_id": "7"}
        click = Event(**said, items=[EventItem("i3")])
        log.append(EVENTS, [(partition_of("u7", PARTITIONS), encode_event(click))])
        fold = partial(fold_all, log, state, PARTITIONS)
        fold()
        worker = a_worker(through(urls[0], to_log.port), through(urls[1], to_state.port), directory)
        worker.start(ready_within_s=60.0)
        with served(create_app(worker)) as url, closing(HttpSystem(url)) as api:
            yield Recommender(api, log, state, to_state, to_log, worker, fold)


def a_worker(log_url: str, state_url: str, directory: Path) -> Worker:
    state = open_state(state_url, timeout_s=STATE_DEADLINE_S)
    ports = Ports(
        open_log=lambda: open_log(log_url, timeout_s=TIMEOUT_S),
        state=state,
        artifacts=FileArtifacts(directory / "artifacts"),
        dead_letters=DeadLetters(log=open_log(log_url), state=state),
        open_vectors=lambda artifact: read_vectors(artifact, lambda path: ExactIndex(np.zeros((0, 1)), np.zeros(0))),
        spool_directory=directory,
        partitions=PARTITIONS,
        name="api-0",
        member="api-0",
    )
    return Worker(ports, World(ItemTable(PARTITIONS)))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_whatever_the_way_to_the_state_store_does_every_slate_is_answered_and_its_rung_named(
    recommender: Recommender, eventually: Callable[[Callable[[], Any]], Any], fault: Fault
) -> None:
    eventually(recommender.is_personal)
    recommender.to_state.inject(fault)

    slates = [recommender.ask() for _ in range(20)]

    lower = [slate["fallback"] for slate in slates if slate["fallback"] is not None]
    assert all(len(slate["items"]) == 3 for slate in slates)
    assert lower
    assert all(said["rung"] == "popularity" and said["why"].startswith("no user record") for said in lower)
    recommender.to_state.inject(SOUND)
    eventually(recommender.is_personal)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_whatever_the_way_to_the_log_does_what_was_acknowledged_counts_once(
    recommender: Recommender, eventually: Callable[[Callable[[], Any]], Any], fault: Fault
) -> None:
    before = recommender.clicks()
    recommender.to_log.inject(fault)

    slates = set()
    for n in range(5):
        event = {"event_id": f"{fault.name}-{n}", "event_type": "click", "user_id": "7", "item_id": f"i{n}"}
        assert recommender.api.call("POST", "/v1/events", event)[1]["accepted"] == 1
        slates.add(recommender.ask()["recommendation_id"])

    recommender.to_log.inject(SOUND)
    eventually(lambda: recommender.worker.appender.spooled_bytes == 0)
    eventually(lambda: recommender.clicks() == before + 5)
    assert slates <= {decode_slate(payload).recommendation_id for payload in payloads(recommender.log, SLATES)}
    told = [decode_event(payload).event_id for payload in payloads(recommender.log, EVENTS)]
    assert {f"{fault.name}-{n}" for n in range(5)} <= set(told)


def payloads(log: EventLog, topic: str) -> Iterator[bytes]:
    for partition in range(PARTITIONS):
        for batch in logged(log, topic, partition, START):
            yield from (message.payload for message in batch.messages)


@pytest.mark.slow
def test_with_store_and_log_killed_two_workers_answer_everything_and_lose_nothing() -> None:
    outcome = verify_ladder(names=["both-killed"], seconds=0.5, rate=40.0)

    assert outcome.is_correct, outcome
    (found,) = outcome.faults
    assert found.rungs.keys() & {"session", "popularity"}
    assert found.why
    assert min(outcome.slates, outcome.events) > 0
