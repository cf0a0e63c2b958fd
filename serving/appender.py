"""The one thread of a worker that appends to the log, so that requests share round trips and never block on it.

Events are acknowledged once they are in the log, or in the fsynced spool while the log is away. Slates are in the
spool before their response and shipped from there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Condition, Thread
from typing import NamedTuple

from online.ports import EventLog, Unavailable

from .spool import Spool, Spooled, SpoolFull, orphans

logger = logging.getLogger(__name__)

SHIP_MESSAGES = 256  # in one append
RETRY_S = 0.2  # between attempts while the log is away
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
        self._log, self._directory, self._cap = log, directory, cap_bytes
        self._spool = Spool(directory / f"{name}.spool", cap_bytes=cap_bytes)
        self._changed = Condition()
        self._queue: list[_Waiting] = []
        self._closing = False
        self._events_until = 0  # spool offset behind which no event waits: before it, new ones queue up behind
        self._away_until = 0.0
        self._thread = Thread(target=self._run, name="appender", daemon=True)

    @property
    def spooled_bytes(self) -> int:
        """Bytes waiting for the log."""
        return self._spool.pending

    @property
    def is_log_away(self) -> bool:
        """Say whether the last append failed."""
        return self._away_until > 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def keep(self, message: Spooled) -> None:
        """Put a slate into the spool; it is shipped soon.

        Raises:
            SpoolFull, OSError: it could not be kept.
        """
        with self._changed:
            self._spool.append(message, durable=False)
            self._changed.notify()

    async def append(self, messages: Sequence[Spooled]) -> None:
        """Return once all messages are kept.

        Raises:
            Refused: they could not be kept; nothing was acknowledged.
        """
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
        self._spool.close()

    def _run(self) -> None:
        looked = 0.0
        while True:
            with self._changed:
                if not (self._queue or self._spool.pending or self._closing):
                    self._changed.wait(1.0)
                elif self._away() and not self._queue and not self._closing:
                    self._changed.wait(RETRY_S)
                waiting, self._queue = self._queue, []
                closing = self._closing
            if waiting:
                self._append(waiting)
            if self._spool.pending and not self._away():
                self._ship(self._spool)
            if time.monotonic() - looked > ORPHANS_S and not self._away():
                looked = time.monotonic()
                self._adopt()
            if closing and not self._queue:
                return

    def _away(self) -> bool:
        return time.monotonic() < self._away_until

    def _append(self, waiting: Sequence[_Waiting]) -> None:
        messages = [message for one in waiting for message in one.messages]
        error: Exception | None = None
        if self._events_until or not self._sent(messages):
            error = self._spool_events(messages)
        for one in waiting:
            one.done(error)

    def _sent(self, messages: Sequence[Spooled]) -> bool:
        if self._away():
            return False
        try:
            for topic in dict.fromkeys(topic for topic, _, _ in messages):
                self._log.append(topic, [(p, payload) for t, p, payload in messages if t == topic])
        except Unavailable as error:
            if not self._away_until:
                logger.warning("the log is away, spooling to %s: %s", self._spool.path, error)
            self._away_until = time.monotonic() + RETRY_S
            return False
        if self._away_until:
            logger.warning("the log is back")
            self._away_until = 0.0
        return True

    def _spool_events(self, messages: Sequence[Spooled]) -> Exception | None:
        try:
            with self._changed:
                for message in messages[:-1]:
                    self._spool.append(message, durable=False)
                self._spool.append(messages[-1], durable=True)
                self._events_until = self._spool.size
        except (SpoolFull, OSError) as error:
            return Refused(f"the log does not answer and the spool cannot take more: {error}")
        return None

    def _ship(self, spool: Spool) -> bool:
        """Ship one chunk, so that waiting events get their turn; say whether the log took it."""
        messages, end = spool.peek(SHIP_MESSAGES)
        if not self._sent(messages):
            return False
        with self._changed:
            spool.release(end)
            if spool is self._spool and end >= self._events_until:
                self._events_until = 0
        return True

    def _adopt(self) -> None:
        for spool in orphans(self._directory, cap_bytes=self._cap):
            logger.warning("shipping %d bytes that a dead worker left in %s", spool.pending, spool.path)
            while spool.pending and self._ship(spool):
                pass
            spool.close()
