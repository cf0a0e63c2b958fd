"""Admission of what clients send in bulk: what waits is bounded in bytes, and one batch at a time is validated.

A client that sends faster than events can be kept is told how long to wait; requests for slates pass by.
"""

from __future__ import annotations

import math
from asyncio import Lock
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MAX_WAITING_BYTES = 2 * 1024 * 1024  # of bodies received and not yet kept: a second or two of work for a worker
REQUEST_BYTES = 4096  # what a request takes beside its body: small ones count too
WINDOW_S = 1.0  # over which the drain rate is measured
MIN_WAIT_S, MAX_WAIT_S = 1, 30


class Admission:
    """Counts the bytes that wait, and measures how fast they go.

    >>> admission = Admission(clock=lambda: 0.0, limit_bytes=5000)
    >>> with admission.place() as first, admission.place() as second:
    ...     first.take(4000), second.take(1001), second.take(1000), admission.waiting_bytes
    (True, False, True, 5000)
    """

    def __init__(self, *, clock: Callable[[], float], limit_bytes: int = MAX_WAITING_BYTES) -> None:
        self._clock, self.limit_bytes = clock, limit_bytes
        self.waiting_bytes = 0
        self.turn = Lock()  # held while a batch is validated, so that other requests wait for a turn of one batch only
        self._at, self._busy_s, self._drained = clock(), 0.0, 0.0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Give a place to a request; what it took has drained when the block ends without an error."""
        place = Place(self)
        try:
            yield place
            self._drained += place.taken
        finally:
            self.hold(-place.taken)

    def wait_s(self) -> int:
        """Return after how many seconds what waits now will be gone, at the measured rate; between 1 and 30."""
        self._measure()
        if not self._drained:
            return MIN_WAIT_S if self._busy_s < WINDOW_S else MAX_WAIT_S
        return min(MAX_WAIT_S, max(MIN_WAIT_S, math.ceil(self.waiting_bytes * self._busy_s / self._drained)))

    def hold(self, size: int) -> None:
        """Count so many bytes more (or fewer) that wait."""
        self._measure()
        self.waiting_bytes += size

    def _measure(self) -> None:
        """Count the time in which anything waited; of bytes drained and time, the last `WINDOW_S` weigh most."""
        now = self._clock()
        if self.waiting_bytes:
            self._busy_s += now - self._at
        self._at = now
        if self._busy_s > WINDOW_S:
            self._drained *= WINDOW_S / self._busy_s
            self._busy_s = WINDOW_S


class Place:
    """What one request takes of the bytes that may wait."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.taken = 0

    def fits(self, size: int) -> bool:
        """Say whether there is room for so many bytes more; a request that waits for no other has room always."""
        others = self._admission.waiting_bytes - self.taken
        return not others or others + self.taken + size <= self._admission.limit_bytes

    def take(self, size: int) -> bool:
        """Take room for so many bytes more; say whether there was."""
        if not self.fits(size):
            return False
        self._admission.hold(size)
        self.taken += size
        return True
