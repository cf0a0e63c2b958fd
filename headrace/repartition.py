"""`headrace repartition`: more partitions for a log whose system is stopped.

Everything is told by the log. Each record whose user belongs to another partition now is sent there whole (`Arrived`),
and folded. Only then does the number that routes users change, in one step; behind it the copies in the old partitions
are dismissed (`Departed`). Killed at any moment, the log routes by the old number or by the new one, every record is
where that number says, and the same command finishes what was begun. Item aggregates stay where they are: what counts
is their sum over partitions, which nothing here changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from flows.learn import join_view
from flows.lease import TTL_S
from flows.state import catalogue_view, control_view, letters_view, state_view
from flows.view import View, adopt_all, build, run
from headrace.probe import require_answers, require_data_dir
from headrace.settings import Settings, SettingsError
from headrace.supervisor import Supervisor
from headrace.system import FLOWS, plan
from headrace.tenants import chosen
from online.connect import open_log, open_state
from online.core.checkpoint import by_topic
from online.core.join import JOIN_VIEW, OPEN_SLATE, SLATES, WATERMARK
from online.core.open_slate import OpenSlate
from online.core.partition import EVENTS, USER, USERS, partition_of
from online.core.record import decode_record
from online.ports import EventLog, Fenced, StateStore
from online.topics import USER_TOPICS
from schemas.move import Arrived, Departed, encode_move, ids
from serving.spool import orphans

CHUNK = 500  # records in one append


@dataclass
class Moved:
    """What changed its partition."""

    partitions_before: int
    partitions: int
    users_arrived: int = 0
    users_departed: int = 0
    open_slates_dropped: int = 0
    took_s: float = 0.0


def repartition(settings: Settings, partitions: int, *, progress: Callable[[str], None]) -> dict[str, Any]:
    """Give the log of a stopped system more partitions.

    Raises:
        SettingsError: there is no such log, it has more partitions already, or a process of the system still runs.
        AlreadyRunning: the system runs.
        Fenced: a flow was started meanwhile.
    """
    require_data_dir(settings)
    require_answers(settings)
    system = plan(settings, flows=(), api=False, warehouse=False)
    with ExitStack() as stack:
        stack.enter_context(Supervisor(system.services, system.settings.data_dir))
        theirs = chosen(system.settings)
        log, state = open_log(theirs.log), open_state(theirs.state)
        stack.callback(log.close)
        stack.callback(state.close)
        require_stopped(state)
        ship(theirs.data_dir / "spool", log)
        growth = Growth(log, state, partial(open_log, theirs.log), partitions, window_s=settings.click_window_s)
        return asdict(growth.run(progress))


def require_stopped(state: StateStore) -> None:
    """Raise SettingsError when a process of a flow lives; one that was killed a moment ago is waited for."""
    deadline = time.monotonic() + TTL_S + 1.0
    while living := sorted(member for name in FLOWS for member in state.roster(name)):
        if time.monotonic() > deadline:
            raise SettingsError(f"flows still run: stop {', '.join(living)} first")
        time.sleep(0.2)


def ship(spool: Path, log: EventLog) -> None:
    """Append what dead API workers had acknowledged and not yet sent, while it still goes where they meant it to go."""
    for segment in orphans(spool):
        while segment.pending:
            messages, end = segment.peek(CHUNK)
            for topic, together in by_topic(messages).items():
                log.append(topic, together)
            segment.release(end)
        segment.close()


class Growth:
    """More partitions for a log.

    Args:
        log: of which nobody else reads or writes anything meanwhile.
        state: that goes with it.
        open_log: opens the log once more, for the flows.
        partitions: how many there are to be.
        window_s: of the join, in seconds.

    Raises:
        SettingsError: there is no such log, or it has more partitions already.
    """

    def __init__(
        self,
        log: EventLog,
        state: StateStore,
        open_log: Callable[[], EventLog],
        partitions: int,
        *,
        window_s: float,
    ) -> None:
        self._log, self._state, self._open_log, self._window_s = log, state, open_log, window_s
        self._before, begun = min(log.partitions(topic) for topic in USER_TOPICS), log.partitions(EVENTS)
        if self._before == 0:
            raise SettingsError("this log was never used: set HEADRACE_PARTITIONS and start it")
        if partitions < begun:
            since = f", and {begun} since a change that was begun" if begun > self._before else ""
            raise SettingsError(f"the log has {self._before} partitions{since}: they can become more, never fewer")
        self._partitions = partitions
        self.moved = Moved(self._before, partitions)

    def run(self, progress: Callable[[str], None]) -> Moved:
        """Do all that is not yet done."""
        began = time.monotonic()
        progress(f"folding what is left in {self._before} partitions")
        self._fold(self._before)
        self._fold_joins()
        if self._partitions > self._before:
            progress(f"moving records to {self._partitions} partitions")
            self._log.grow(EVENTS, self._partitions)
            self._log.grow(USERS, self._partitions)
            self._send_records()
            self._fold(self._partitions)
            self._log.grow(SLATES, self._partitions)  # the last of those whose least number routes users
        progress("dismissing the copies in the old partitions")
        self._dismiss_records()
        self._fold(self._partitions)
        self._drop_slates()
        self.moved.took_s = round(time.monotonic() - began, 3)
        return self.moved

    def _fold(self, partitions: int) -> None:
        """Fold everything, and what folding sends."""
        views = [
            state_view(state=self._state, log=self._log, partitions=partitions),
            catalogue_view(state=self._state, log=self._log),
            letters_view(state=self._state, log=self._log, partitions=partitions),
            control_view(state=self._state, log=self._log),
        ]
        while True:
            _run(views, self._open_log)
            positions = {key: position for view in views for key, position in view.positions().items()}
            if not any(self._log.behind(*key, position) for key, position in positions.items()):
                return

    def _fold_joins(self) -> None:
        view = join_view(state=self._state, log=self._log, partitions=self._before, window_s=self._window_s)
        _run([view], self._open_log)

    def _send_records(self) -> None:
        for partition in range(self._before):
            messages = self._arrivals(partition)
            while chunk := list(islice(messages, CHUNK)):
                self._log.append(EVENTS, chunk)
                self.moved.users_arrived += len(chunk)

    def _arrivals(self, partition: int) -> Iterator[tuple[int, bytes]]:
        for key, value in self._state.scan(partition, USER):
            target = partition_of(key, self._partitions)
            is_copy = partition_of(key, self._before) != partition  # of an attempt that was broken off
            if target != partition and not is_copy:
                yield target, encode_move(self._arrived(key, value))

    def _arrived(self, key: str, record: bytes) -> Arrived:
        user_id, visitor_id = ids(key)
        at = decode_record(record).last_time
        return Arrived(
            event_id=self._id(key),
            timestamp=at,
            received_at=at,
            user_id=user_id,
            visitor_id=visitor_id,
            record=record,
        )

    def _departed(self, key: str) -> Departed:
        user_id, visitor_id = ids(key)
        return Departed(event_id=self._id(key), timestamp=0.0, received_at=0.0, user_id=user_id, visitor_id=visitor_id)

    def _dismiss_records(self) -> None:
        for partition in range(self._partitions):
            foreign = [key for key, _ in self._state.scan(partition, USER) if self._is_foreign(key, partition)]
            for at in range(0, len(foreign), CHUNK):
                departed = [(partition, encode_move(self._departed(key))) for key in foreign[at : at + CHUNK]]
                for topic in (USERS, EVENTS):  # in this order: records are gone once all is said
                    self._log.append(topic, departed)
            self.moved.users_departed += len(foreign)

    def _drop_slates(self) -> None:
        """Forget the open slates of users who moved: their outcomes come elsewhere, and are not to count as missing."""
        for partition in range(self._partitions):
            moved = [
                key
                for key, value in self._state.scan(partition, OPEN_SLATE)
                if key != WATERMARK and self._is_moved(value, partition)
            ]
            claim = self._state.claim(JOIN_VIEW, partition)
            if moved and claim.checkpoint is not None:
                writes = {OPEN_SLATE: dict.fromkeys(moved)}
                self._state.commit(JOIN_VIEW, partition, claim.generation, writes, claim.checkpoint)
            self.moved.open_slates_dropped += len(moved)

    def _is_moved(self, slate: bytes, partition: int) -> bool:
        key = msgspec.msgpack.decode(slate, type=OpenSlate).user_key
        return key is not None and self._is_foreign(key, partition)

    def _is_foreign(self, key: str, partition: int) -> bool:
        return partition_of(key, self._partitions) != partition

    def _id(self, key: str) -> str:
        return f"{self._before}>{self._partitions}:{key}"


def _run(views: list[View], open_log: Callable[[], EventLog]) -> None:
    """Fold all that the log holds.

    Raises:
        Fenced: another process has taken a partition.
    """
    adopt_all(views)
    run(build("repartition", views, open_log, stop_at_head=True))
    if any(view.adopted != set(view.partitions) for view in views):
        raise Fenced("a flow was started meanwhile: stop it, and repeat this")
