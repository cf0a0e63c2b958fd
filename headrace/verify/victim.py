"""What is killed, and when: at any moment, in a start-up, together, or amid the steps where it might matter."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import NamedTuple

from flows.record import RECORD_VIEW, decode_record_checkpoint
from flows.state import STATE_VIEW
from headrace.supervisor import Supervisor
from headrace.verify.drain import Ports, spool_is_empty
from online.core.join import JOIN_VIEW
from online.ports import Unavailable

FLOW, STATE, LOG, API, RECORD, WAREHOUSE = "flow", "state", "log", "api", "record", "warehouse"
VALKEY, BROKER = "valkey", "broker"
API_WORKERS = 2

TARGETS: Mapping[str, Sequence[str]] = {
    FLOW: ("flow-state", "flow-state", "flow-learn", "flow-index"),  # by how often
    STATE: (VALKEY,),
    LOG: (VALKEY,),
    API: tuple(f"api-{number}" for number in range(API_WORKERS)),
    RECORD: ("flow-record",),
    WAREHOUSE: ("warehouse",),
}
"""Target -> the services that are killed. The embedded Valkey is both state store and log."""

BROKER_TARGETS = {**TARGETS, LOG: (BROKER,)}
"""The same where the log is a broker of its own."""

AGAIN_SHARE, TOGETHER_SHARE, ALL_SHARE = 0.15, 0.12, 0.02
ANYWHERE_SHARE = 0.3
LONGEST_PAUSE_S = 2.0  # between kills: any part of a start-up
PATIENCE_S = 5.0  # with a moment: what is killed may have to start first
LOOK_S = 0.0002


class _Moment(NamedTuple):
    """Tells when something begins that a kill might break, and how long after that the kill comes: between a commit and
    what it sends lies less than a millisecond, an insert takes ten to a hundred.
    """

    is_now: Callable[[], bool]
    soon_s: float = 0.02  # on average
    at_once_share: float = 0.0


class Killer:
    """Kills (-9) services of the chosen targets and starts them again at once, without waiting until they are ready.

    Args:
        supervisor: of the services.
        services: each target's.
        ports: what tells where the system stands.
        rng: decides on services and moments.
        kill_broker: kills the log's broker and returns once it is back.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        services: Sequence[Sequence[str]],
        ports: Ports,
        rng: random.Random,
        kill_broker: Callable[[], None] | None = None,
    ) -> None:
        self._supervisor, self._services, self._ports, self._rng = supervisor, services, ports, rng
        self._kill_broker = kill_broker
        self._broker: Thread | None = None
        self._failure: Unavailable | None = None
        self._last: list[str] = []
        self.killed: Counter[str] = Counter()

    def kill(self, at_most: int) -> list[str]:
        """Wait for a moment and kill one service or several, `at_most` so many; return which.

        Raises:
            Unavailable: the broker was not killed or does not come back.
        """
        victims = self._victims()[:at_most]
        self._wait(victims[0])
        for name in victims:
            if name == BROKER:
                self._strike_broker()
            else:
                self._supervisor.kill(name)
        for name in victims:
            if name != BROKER:
                self._supervisor.restart(name, wait=False)
        self.killed.update(victims)
        self._last = victims
        return victims

    def wait(self) -> None:
        """Wait until the broker is back.

        Raises:
            Unavailable: it does not come back.
        """
        if self._broker is not None:
            self._broker.join()
        if self._failure is not None:
            raise self._failure

    def _victims(self) -> list[str]:
        rng, chance = self._rng, self._rng.random()
        if chance < AGAIN_SHARE and self._last and self._last != [BROKER]:
            return self._last  # which have hardly started
        if chance < AGAIN_SHARE + ALL_SHARE:
            everyone = sorted({name for services in self._services for name in services})
            return rng.sample(everyone, len(everyone))
        together = 1 + (chance > 1.0 - TOGETHER_SHARE)
        return list(dict.fromkeys(rng.choice(rng.choice(self._services)) for _ in range(together)))

    def _strike_broker(self) -> None:
        """Kill the broker, which takes its time to come back: other kills go on meanwhile."""
        self.wait()
        self._broker = Thread(target=self._run_kill_broker, name="kill-broker", daemon=True)
        self._broker.start()

    def _run_kill_broker(self) -> None:
        assert self._kill_broker is not None
        try:
            self._kill_broker()
        except Unavailable as error:
            self._failure = error

    def _wait(self, name: str) -> None:
        rng = self._rng
        time.sleep(rng.uniform(0.0, LONGEST_PAUSE_S))
        if rng.random() < ANYWHERE_SHARE:
            return
        moment = self._moment(name)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                if moment.is_now():
                    break
            except Unavailable:
                pass
            time.sleep(LOOK_S)
        if rng.random() > moment.at_once_share:
            time.sleep(rng.expovariate(1 / moment.soon_s))

    def _moment(self, name: str) -> _Moment:
        """Return when the service is amid something."""
        if name in (*TARGETS[RECORD], *TARGETS[WAREHOUSE]):
            return _Moment(self._commit_of(RECORD_VIEW, _announces_an_insert), soon_s=0.04)
        if name in TARGETS[API]:
            return _Moment(lambda: not spool_is_empty(self._ports.spool))
        return _Moment(self._commit_of(JOIN_VIEW if name == "flow-learn" else STATE_VIEW), at_once_share=0.4)

    def _commit_of(self, view: str, is_meant: Callable[[bytes], bool] = lambda payload: True) -> Callable[[], bool]:
        """Return what tells that one of the view's partitions was committed since, by what is meant."""
        state, partition = self._ports.state, self._rng.randrange(self._ports.partitions)
        seen: list[bytes | None] = []

        def is_now() -> bool:
            now = state.checkpoint(view, partition)
            if not seen:
                seen.append(now)
            return now is not None and now != seen[0] and is_meant(now)

        return is_now


def _announces_an_insert(payload: bytes) -> bool:
    return bool(decode_record_checkpoint(payload).intended)
