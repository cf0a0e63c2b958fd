"""A circuit breaker: after a failure, the service is left alone for a moment instead of being waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from online.ports import Unavailable

T = TypeVar("T")


class Breaker:
    """Calls through while closed; after a failure it refuses at once for a rest, then lets one call probe.

    The rest doubles with each failed probe, from `first_rest_s` to `last_rest_s`: one slow answer costs next to
    nothing, and a service that is gone is hardly asked.
    """

    def __init__(self, *, first_rest_s: float, last_rest_s: float, clock: Callable[[], float]) -> None:
        self._first_rest_s, self._last_rest_s, self._clock = first_rest_s, last_rest_s, clock
        self._rest_s = first_rest_s
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
            self._rest_s = min(2 * self._rest_s, self._last_rest_s)
            raise
        self._rest_s, self._open_until = self._first_rest_s, 0.0
        return result
