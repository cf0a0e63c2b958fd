"""A circuit breaker: after a failure, the service is left alone for a moment instead of being waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from online.ports import Unavailable

T = TypeVar("T")


class Breaker:
    """Calls through while closed; for `rest_s` after a failure it refuses at once, then lets one call probe."""

    def __init__(self, *, rest_s: float, clock: Callable[[], float]) -> None:
        self._rest_s, self._clock = rest_s, clock
        self._open_until = 0.0

    def call(self, function: Callable[[], T]) -> T:
        """Return the function's result.

        Raises:
            Unavailable: the service failed now or a moment ago.
        """
        if self._clock() < self._open_until:
            raise Unavailable("left alone after a failure")
        try:
            result = function()
        except Unavailable:
            self._open_until = self._clock() + self._rest_s
            raise
        self._open_until = 0.0
        return result
