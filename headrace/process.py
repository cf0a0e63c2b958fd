"""The child processes: each takes the settings, opens its ports, and runs until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from headrace.schema import DOCUMENTS
from headrace.settings import Settings
from online.adapters.file_artifacts import FileArtifacts
from online.connect import ensure_database, open_log, open_state, open_warehouse
from online.ports import EventLog, Unavailable
from online.topics import SINGLE_TOPICS, USER_TOPICS

if TYPE_CHECKING:  # bytewax comes with them, and an API worker has no use for it
    from flows.lease import Lease
    from flows.view import Step

logger = logging.getLogger(__name__)

T = TypeVar("T")
START_PATIENCE_S = 60.0
TICK_S = 1.0  # between looks whether a model is due to be published
LEASE_TIMEOUT_S = 1.0
CONNECTIONS = 1024  # open at once; who sends many events must not keep out who asks for a slate
READ_BYTES = 64 * 1024  # read ahead per connection


def configure_logging() -> None:
    """Log to stderr; the supervisor keeps it in a file."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def patiently(call: Callable[[], T]) -> T:
    """Return the call's result, waiting for a service that is still starting.

    Raises:
        Unavailable: it did not come up.
    """
    deadline = time.monotonic() + START_PATIENCE_S
    while True:
        try:
            return call()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def create_topics(log: EventLog, partitions: int) -> int:
    """Create the topics that are not there yet; return the number of user partitions the log has.

    Raises:
        Unavailable: the log does not answer.
        LogError: it refuses, for example because what is in a topic does not go with today's schema.
    """
    for topic in SINGLE_TOPICS:
        log.create(topic, 1, DOCUMENTS.get(topic))
    return min(log.create(topic, partitions, DOCUMENTS.get(topic)) for topic in USER_TOPICS)


def run_state_flow(settings: Settings, member: str) -> None:
    """Run the state flow."""
    from flows.state import catalogue_view, control_view, letters_view, state_view

    gc.disable()  # records are acyclic: reference counting frees them, and collections would walk the cache
    log, state = open_log(settings.log), open_state(settings.state)
    partitions = patiently(lambda: create_topics(log, settings.partitions))
    views = [
        state_view(state=state, log=log, partitions=partitions),
        catalogue_view(state=state, log=log),
        letters_view(state=state, log=log, partitions=partitions),
        control_view(state=state, log=log),
    ]
    keep("state", views, settings, member)


def run_api(settings: Settings, number: int) -> None:
    """Run one API worker."""
    from granian.constants import Interfaces
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    from headrace.api import edge

    server = Server(
        edge(settings, number),
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        log_access=False,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(max_buffer_size=READ_BYTES),
    )
    asyncio.run(server.serve())


def run_learn_flow(settings: Settings, member: str) -> None:
    """Run the learn flow: the join of slates and outcomes, and the ranker."""
    from flows.learn import join_view, ranker_view

    log, state = open_log(settings.log), open_state(settings.state)
    partitions = patiently(lambda: create_topics(log, settings.partitions))
    views: list[Step] = [
        join_view(state=state, log=log, partitions=partitions, window_s=settings.click_window_s),
        ranker_view(artifacts=open_artifacts(settings), clock=time.time, active=settings.ranker),
    ]
    keep("learn", views, settings, member, tick_s=TICK_S)


def run_index_flow(settings: Settings, member: str) -> None:
    """Run the index flow."""
    from flows.blend import blend_view
    from flows.index import vectors_view
    from online.adapters.usearch_index import build_usearch

    log = open_log(settings.log)
    patiently(lambda: create_topics(log, settings.partitions))
    log.close()
    artifacts = open_artifacts(settings)
    views = [
        vectors_view(artifacts=artifacts, build_index=build_usearch, clock=time.time),
        blend_view(artifacts=artifacts, clock=time.time),
    ]
    keep("index", views, settings, member, tick_s=TICK_S)


def run_record_flow(settings: Settings, member: str) -> None:
    """Run the record flow."""
    from flows.record import FLUSH_S, RecordView
    from flows.retention import Retention

    log, state = open_log(settings.log), open_state(settings.state)
    partitions = patiently(lambda: create_topics(log, settings.partitions))
    patiently(lambda: ensure_database(settings.warehouse))
    record = RecordView(state=state, log=log, warehouse=open_warehouse(settings.warehouse), partitions=partitions)
    retention = Retention(
        log=log,
        state=state,
        artifacts=open_artifacts(settings),
        recorded=record.recorded,
        partitions=partitions,
        clock=time.time,
    )
    keep("record", [record, retention], settings, member, tick_s=FLUSH_S)


def run_canary_steward(settings: Settings, member: str) -> None:
    """Run the steward of canaries: one of its processes looks, the others wait for its lease to end."""
    from flows.canary import LOOK_S, Steward
    from flows.lease import Lease
    from online.control.control import built_in
    from online.core.policy_document import policies_for

    log, state = open_log(settings.log), open_state(settings.state)
    patiently(lambda: create_topics(log, settings.partitions))
    steward = Steward(
        control=built_in(policies_for(settings.values, settings.new_items)),
        state=state,
        log=log,
        warehouse=open_warehouse(settings.warehouse),
        member=member,
        clock=time.time,
    )
    lease = Lease(open_state(settings.state, timeout_s=LEASE_TIMEOUT_S), "canary", member, {0})
    lease.start()
    signal.signal(signal.SIGTERM, lambda number, frame: _leave_and_end(lease))
    while True:
        if lease.goal.partitions:
            try:
                steward.look()
            except Unavailable as error:
                logger.warning("cannot look after the canaries: %s", error)
        time.sleep(LOOK_S)


def keep(name: str, views: Sequence[Step], settings: Settings, member: str, *, tick_s: float | None = None) -> None:
    """Run a flow's views with this process's share of their partitions, until SIGTERM; then leave that to others."""
    from flows.lease import Lease
    from flows.view import build, run

    partitions = frozenset().union(*(view.partitions for view in views))
    lease = Lease(open_state(settings.state, timeout_s=LEASE_TIMEOUT_S), name, member, partitions)
    lease.start()
    signal.signal(signal.SIGTERM, lambda number, frame: _leave_and_end(lease))
    try:
        run(build(name, views, partial(open_log, settings.log), lease=lease, tick_s=tick_s))
    finally:
        _leave(lease)


def _leave_and_end(lease: Lease) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _leave(lease)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(lease: Lease) -> None:
    with suppress(Unavailable):  # then it ends by itself
        lease.leave()


def member_name(settings: Settings, number: int | None) -> str:
    """Name a process of a flow among the others of its flow.

    The supervisor's have numbers: one that is started again finds its own lease and goes on at once.
    """
    host = socket.gethostname()
    return f"{host}:{os.getpid()}" if number is None else f"{host}:{settings.data_dir.resolve()}:{number}"


def open_artifacts(settings: Settings) -> FileArtifacts:
    """Return the artifact store of the data directory."""
    return FileArtifacts(settings.data_dir / "artifacts")


FLOWS: dict[str, Callable[[Settings, str], None]] = {
    "state": run_state_flow,
    "learn": run_learn_flow,
    "index": run_index_flow,
    "record": run_record_flow,
    "canary": run_canary_steward,
}
"""Flows by the name of their process."""
