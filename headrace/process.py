"""The child processes: each takes the settings, opens its ports, and runs until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from headrace.settings import Settings
from online.adapters.file_artifacts import FileArtifacts
from online.connect import open_log, open_state, open_warehouse
from online.ports import EventLog, Unavailable
from serving.worker import SINGLE_TOPICS, TOPICS

logger = logging.getLogger(__name__)

T = TypeVar("T")
START_PATIENCE_S = 60.0
TICK_S = 1.0  # between looks whether a model is due to be published
API_TIMEOUT_S = 0.25  # of an append: after it, events go to the spool


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
    """Create the topics that are not there yet; return the number of user partitions the log has."""
    for topic in SINGLE_TOPICS:
        log.create(topic, 1)
    return min(log.create(topic, partitions) for topic in TOPICS)


def run_state_flow(settings: Settings) -> None:
    """Run the state flow."""
    from flows.state import catalogue_view, state_view
    from flows.view import build, run

    gc.disable()  # records are acyclic: reference counting frees them, and collections would walk the cache
    log, state = open_log(settings.log), open_state(settings.state)
    partitions = patiently(lambda: create_topics(log, settings.partitions))
    views = [state_view(state=state, log=log, partitions=partitions), catalogue_view(state=state, log=log)]
    run(build("state", views, partial(open_log, settings.log)))


def run_api(settings: Settings, number: int) -> None:
    """Run one API worker."""
    from granian.constants import Interfaces
    from granian.server.embed import Server

    from online.adapters.usearch_index import UsearchIndex
    from online.core.item_table import ItemTable
    from online.world import World, read_vectors
    from serving.app import create_app
    from serving.worker import STATE_DEADLINE_S, Ports, Worker

    log = open_log(settings.log)
    partitions = patiently(lambda: create_topics(log, settings.partitions))
    log.close()
    spools = settings.data_dir / "spool"
    spools.mkdir(mode=0o700, exist_ok=True)
    ports = Ports(
        open_log=partial(open_log, settings.log, timeout_s=API_TIMEOUT_S),
        state=open_state(settings.state, timeout_s=STATE_DEADLINE_S),
        artifacts=open_artifacts(settings),
        open_vectors=lambda artifact: read_vectors(artifact, UsearchIndex.view),
        spool_directory=spools,
        partitions=partitions,
        name=f"api-{number}",
        keys=settings.key_digests,
    )
    app = create_app(Worker(ports, World(ItemTable(partitions))))
    server = Server(app, address=settings.host, port=settings.port, interface=Interfaces.ASGI, log_access=False)
    asyncio.run(server.serve())


def run_learn_flow(settings: Settings) -> None:
    """Run the learn flow: the join of slates and outcomes, and the ranker."""
    from flows.learn import join_view, ranker_view
    from flows.view import Step, build, run

    log, state = open_log(settings.log), open_state(settings.state)
    partitions = patiently(lambda: create_topics(log, settings.partitions))
    views: list[Step] = [
        join_view(state=state, log=log, partitions=partitions, window_s=settings.click_window_s),
        ranker_view(artifacts=open_artifacts(settings), clock=time.time),
    ]
    run(build("learn", views, partial(open_log, settings.log), tick_s=TICK_S))


def run_index_flow(settings: Settings) -> None:
    """Run the index flow."""
    from flows.index import vectors_view
    from flows.view import build, run
    from online.adapters.usearch_index import build_usearch

    log = open_log(settings.log)
    patiently(lambda: create_topics(log, settings.partitions))
    log.close()
    view = vectors_view(artifacts=open_artifacts(settings), build_index=build_usearch, clock=time.time)
    run(build("index", [view], partial(open_log, settings.log), tick_s=TICK_S))


def run_record_flow(settings: Settings) -> None:
    """Run the record flow."""
    from flows.record import FLUSH_S, RecordView
    from flows.retention import Retention
    from flows.view import build, run

    log, state = open_log(settings.log), open_state(settings.state)
    partitions = patiently(lambda: create_topics(log, settings.partitions))
    record = RecordView(state=state, log=log, warehouse=open_warehouse(settings.warehouse), partitions=partitions)
    retention = Retention(
        log=log,
        state=state,
        artifacts=open_artifacts(settings),
        recorded=record.recorded,
        partitions=partitions,
        clock=time.time,
    )
    run(build("record", [record, retention], partial(open_log, settings.log), tick_s=FLUSH_S))


def open_artifacts(settings: Settings) -> FileArtifacts:
    """Return the artifact store of the data directory."""
    return FileArtifacts(settings.data_dir / "artifacts")


FLOWS: dict[str, Callable[[Settings], None]] = {
    "state": run_state_flow,
    "learn": run_learn_flow,
    "index": run_index_flow,
    "record": run_record_flow,
}
"""Flows by the name of their process."""
