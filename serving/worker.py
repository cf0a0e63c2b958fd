"""One serving worker: what its routes share, and its threads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from online.core.known import known
from online.core.partition import USER, partition_of
from online.core.record import UserRecord
from online.dead_letters import DeadLetters
from online.ports import Artifact, ArtifactStore, EventLog, StateStore, Unavailable, Warehouse
from online.vectors import Vectors
from online.world import World

from .admission import Admission
from .appender import Appender
from .breaker import Breaker
from .contact import Contact
from .follower import Follower
from .metrics import Metrics
from .recently_served import Served
from .remembered import Remembered
from .shadowing import Shadowing

logger = logging.getLogger(__name__)

STATE_DEADLINE_S = 0.02
CATCH_UP_S = 0.05  # that a request waits for a worker that was out of contact with the others
STATE_RESTS_S = (0.02, 1.0)  # first and longest rest after a failed read
STATE_SLOW_S = 0.01  # of a read, behind which others would have to queue


@dataclass(frozen=True, slots=True)
class Ports:
    """How a worker reaches the rest of the system."""

    open_log: Callable[[], EventLog]
    state: StateStore  # opened with a deadline of about `STATE_DEADLINE_S`
    artifacts: ArtifactStore
    open_vectors: Callable[[Artifact], Vectors]
    dead_letters: DeadLetters
    spool_directory: Path
    partitions: int
    name: str
    member: str  # of this worker, among all that share the state store
    holdout: float = 0.0  # share of units that are held out
    open_warehouse: Callable[[], Warehouse] | None = None  # read by reports only; None where there is none


class Worker:
    """The state of one serving process."""

    def __init__(self, ports: Ports, world: World) -> None:
        self.ports, self.world = ports, world
        self.partitions = ports.partitions
        self.metrics = Metrics()
        self.metrics.worker.labels(ports.name).set(1)
        self.remembered, self.served = Remembered(), Served()
        self.admission = Admission(clock=time.monotonic)
        self.metrics.waiting_bytes.set_function(lambda: self.admission.waiting_bytes)
        self.appender = Appender(ports.open_log(), ports.spool_directory, ports.name)
        self.shadowing = Shadowing(self.appender.keep, lambda outcome: self.metrics.shadows.labels(outcome).inc())
        self.contact = Contact(ports.state, ports.member)
        self.follower = Follower(
            world,
            open_log=ports.open_log,
            state=ports.state,
            artifacts=ports.artifacts,
            open_vectors=ports.open_vectors,
            partitions=ports.partitions,
            clock=time.time,
            contact=self.contact,
            refused=lambda name: self.metrics.refused_artifacts.labels(name).inc(),
        )
        first_rest_s, last_rest_s = STATE_RESTS_S
        self._state_breaker = Breaker(
            first_rest_s=first_rest_s, last_rest_s=last_rest_s, slow_s=STATE_SLOW_S, clock=time.monotonic
        )

    def start(self, *, ready_within_s: float = 0.0) -> None:
        """Start the threads, and give the world so long to catch up with the log."""
        self.appender.start()
        self.shadowing.start()
        self.follower.start()
        self.follower.at_head.wait(ready_within_s)

    def close(self) -> None:
        """Stop the threads; what is not shipped stays in the spool."""
        self.contact.leave()
        self.shadowing.close()
        self.follower.close()
        self.appender.close()

    @property
    def is_alive(self) -> bool:
        """Say whether the threads run; a worker without one of them serves nobody and is to be started again."""
        return self.appender.is_alive and self.follower.is_alive

    @property
    def is_ready(self) -> bool:
        """Say whether the world has caught up with the log since the start, and lags behind no other worker."""
        return self.follower.at_head.is_set() and not self.contact.is_lagging

    def current(self) -> World:
        """Return the world for one request to read, as new as this worker owes it to the others to be."""
        self.shadowing.answering()
        self.contact.wait(CATCH_UP_S)
        return self.world.frozen()

    def partition(self, user_key: str) -> int:
        """Return the partition of a user."""
        return partition_of(user_key, self.partitions)

    def record(self, user_key: str) -> UserRecord | None:
        """Return the user's record, None when there is none, or nothing has touched it for long.

        Raises:
            Unavailable: the state store does not answer in time, or what it holds is no record of this version.
        """
        partition = self.partition(user_key)
        payload = self._state_breaker.call(lambda: self.ports.state.get(partition, USER, user_key))
        return _decoded(payload, time.time())

    def records(self, user_keys: Sequence[str]) -> list[UserRecord | None]:
        """Return several users' records in one round trip.

        Raises:
            Unavailable: as in `record`.
        """
        if len(user_keys) == 1:
            return [self.record(user_keys[0])]
        partitions = [self.partition(key) for key in user_keys]
        payloads = self._state_breaker.call(lambda: self.ports.state.get_across(partitions, USER, user_keys))
        return [_decoded(payload, time.time()) for payload in payloads]


def _decoded(payload: bytes | None, now: float) -> UserRecord | None:
    try:
        return known(payload, now)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"the record cannot be read: {error}") from error
