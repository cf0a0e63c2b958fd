"""The one thread of a worker that appends to the log, so that requests share round trips and never block on it.

Events are acknowledged once they are in the log, or in the fsynced spool while the log is away. Slates are in the
spool before their response and shipped from there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Condition, Thread
from typing import NamedTuple

from online.core.checkpoint import by_topic
from online.ports import EventLog, Unavailable

from .spool import CHUNK_BYTES, Segment, Spool, Spooled, SpoolFull, orphans

logger = logging.getLogger(__name__)

SHIP_MESSAGES = 256  # in one append
SHIP_EVERY_S = 0.02  # that a slate waits in the spool for others to share a round trip with
RETRY_S = 0.2  # between attempts while the log is away, or the disk full
FILL_S = 1.0  # between looks how full the log is
MOST_FILL = 0.8  # of the log's room that events and slates may use; the rest lets the flows work, which make room
ORPHANS_S = 5.0  # between looks for spools of dead workers
SPOOL_CAP_BYTES = 256 * 1024 * 1024


class Refused(Exception):
    """Events could not be kept anywhere; none of them is acknowledged."""


class _Waiting(NamedTuple):
    messages: Sequence[Spooled]
    done: Callable[[Exception | None], object]


class Appender:
    """Appends events together, and ships the spool."""

    def __init__(self, log: EventLog, directory: Path, name: str, *, cap_bytes: int = SPOOL_CAP_BYTES) -> None:
        self._log, self._directory = log, directory
        self._spool = Spool(directory, name, cap_bytes=cap_bytes)
        self._adopted: deque[Segment] = deque()
        self._changed = Condition()
        self._queue: deque[_Waiting] = deque()
        self._closing = False
        self._due = 0.0  # when the spool is to be shipped
        self._events_until = 0  # spool offset behind which no event waits: before it, new ones queue up behind
        self._away_until = 0.0
        self._looked_at, self._fill = -FILL_S, 0.0
        self._refusal, self._refused_until = "", 0.0
        self._thread = Thread(target=self._run, name="appender", daemon=True)

    @property
    def spooled_bytes(self) -> int:
        """Bytes waiting for the log."""
        return self._spool.pending

    @property
    def is_log_away(self) -> bool:
        """Say whether the last append failed."""
        return self._away_until > 0.0

    @property
    def refusal(self) -> str:
        """Why nothing more can be kept, as far as known from the last attempt, which was just now; else empty."""
        return self._refusal if time.monotonic() < self._refused_until else ""

    @property
    def is_alive(self) -> bool:
        """Say whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def keep(self, message: Spooled) -> None:
        """Put a slate into the spool; it is shipped soon.

        Raises:
            SpoolFull, OSError: it could not be kept.
        """
        with self._changed:
            is_first = not self._spool.pending
            self._spool.append([message])
            if is_first:
                self._due = time.monotonic() + SHIP_EVERY_S
                self._changed.notify()

    async def append(self, messages: Sequence[Spooled]) -> None:
        """Return once all messages are kept.

        Raises:
            Refused: they could not be kept; nothing was acknowledged.
        """
        if not self.is_alive:
            raise Refused("the thread that appends does not run")
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if kept.done():
                return
            if error is None:
                kept.set_result(None)
            else:
                kept.set_exception(error)

        with self._changed:
            self._queue.append(_Waiting(messages, lambda error: loop.call_soon_threadsafe(settle, error)))
            self._changed.notify()
        await kept

    def close(self) -> None:
        """Ship what can be shipped now, then stop; the rest stays on disk for the next worker."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        for segment in self._adopted:
            segment.close()
        self._spool.close()

    def _run(self) -> None:
        looked = -ORPHANS_S
        while True:
            waiting, closing = self._wait()
            if not closing and time.monotonic() - looked > ORPHANS_S and not self._away():
                looked = time.monotonic()
                self._adopt()
            if waiting:
                self._append(waiting)
            self._ship(sum(len(one.messages) for one in waiting))
            if closing and (self._away() or not self._spool.pending):
                return

    def _wait(self) -> tuple[list[_Waiting], bool]:
        """Return the events that came in, as many as the log takes at once, and whether it is time to stop."""
        with self._changed:
            if not (self._queue or self._spool.pending or self._adopted or self._closing):
                self._changed.wait(1.0)
            elif self._away() and not self._queue and not self._closing:
                self._changed.wait(RETRY_S)
            elif not (self._queue or self._adopted or self._closing):
                self._changed.wait(max(0.0, self._due - time.monotonic()))
            waiting, size = [], 0
            while self._queue and size < CHUNK_BYTES:
                waiting.append(self._queue.popleft())
                size += sum(len(payload) for _, _, payload in waiting[-1].messages)
            return waiting, self._closing and not self._queue

    def _away(self) -> bool:
        return time.monotonic() < self._away_until

    def _append(self, waiting: Sequence[_Waiting]) -> None:
        messages = [message for one in waiting for message in one.messages]
        error: Exception | None = None
        if self._adopted or self._events_until or not self._sent(messages):
            error = self._spool_events(messages)
        for one in waiting:
            one.done(error)

    def _sent(self, messages: Sequence[Spooled]) -> bool:
        if self._away():
            return False
        try:
            self._check_room()
            for topic, together in by_topic(messages).items():
                self._log.append(topic, together)
        except Unavailable as error:
            if not self._away_until:
                logger.warning("the log is away, spooling to %s: %s", self._directory, error)
            self._away_until = time.monotonic() + RETRY_S
            return False
        if self._away_until:
            logger.warning("the log is back")
            self._away_until = 0.0
        return True

    def _check_room(self) -> None:
        """Raise `Unavailable` while the log is so full that the flows need what is left."""
        if time.monotonic() - self._looked_at >= FILL_S:
            self._fill = self._log.fill()
            self._looked_at = time.monotonic()
        if self._fill >= MOST_FILL:
            raise Unavailable(
                f"the log is full: {self._fill:.0%} of its room is used, at {MOST_FILL:.0%} it takes no more"
            )

    def _spool_events(self, messages: Sequence[Spooled]) -> Exception | None:
        try:
            with self._changed:
                segment = self._spool.append(messages)
                self._events_until = self._spool.appended
            segment.sync()  # outside the lock: slates are kept meanwhile
        except (SpoolFull, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            self._refusal = f"the log does not answer and the spool cannot take more: {why}"
            self._refused_until = time.monotonic() + RETRY_S
            return Refused(self._refusal)
        return None

    def _ship(self, came_in: int) -> None:
        """Ship from the spools, more than came in: a backlog shrinks however fast events come in.

        Those of dead workers go first: the own one holds what came after.
        """
        shipped = 0
        while (self._adopted or self._spool.pending) and shipped < max(1, 2 * came_in):
            sent = self._ship_adopted() if self._adopted else self._ship_own()
            if not sent:
                return
            shipped += sent

    def _ship_own(self) -> int:
        messages, end = self._spool.peek(SHIP_MESSAGES)
        if not self._sent(messages):
            return 0
        with self._changed:
            self._spool.release(end)
            self._due = time.monotonic() + SHIP_EVERY_S
            if end >= self._events_until:
                self._events_until = 0
        return len(messages)

    def _ship_adopted(self) -> int:
        segment = self._adopted[0]
        messages, end = segment.peek(SHIP_MESSAGES)
        if not self._sent(messages):
            return 0
        segment.release(end)
        if not segment.pending:
            segment.close()
            self._adopted.popleft()
        return len(messages)

    def _adopt(self) -> None:
        for segment in orphans(self._directory):
            logger.warning("shipping %d bytes that a dead worker left in %s", segment.pending, segment.path)
            self._adopted.append(segment)
