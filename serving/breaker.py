"""A circuit breaker: after a failure, the service is left alone for a moment instead of being waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from online.ports import Unavailable

T = TypeVar("T")


class Breaker:
    """Calls through while closed; after a failure it refuses at once for a rest, then lets one call probe.

    The rest doubles with each failed probe, from `first_rest_s` to `last_rest_s`: one slow answer costs next to
    nothing, and a service that is gone is hardly asked. An answer that took longer than `slow_s` is followed by a rest
    as long as it took: whoever has to stand still for an answer spends at most half of the time so, and the calls that
    wait for their turn do not pile up.
    """

    def __init__(self, *, first_rest_s: float, last_rest_s: float, slow_s: float, clock: Callable[[], float]) -> None:
        self._first_rest_s, self._last_rest_s, self._slow_s, self._clock = first_rest_s, last_rest_s, slow_s, clock
        self._rest_s = first_rest_s
        self._open_until, self._why = 0.0, ""

    def call(self, function: Callable[[], T]) -> T:
        """Return the function's result.

        Raises:
            Unavailable: the service failed now, or failed or was slow a moment ago.
        """
        began = self._clock()
        if began < self._open_until:
            raise Unavailable(f"left alone after {self._why}")
        try:
            result = function()
        except Unavailable:
            self._open_until, self._why = self._clock() + self._rest_s, "a failure"
            self._rest_s = min(2 * self._rest_s, self._last_rest_s)
            raise
        took = self._clock() - began
        self._rest_s = self._first_rest_s
        self._open_until, self._why = (began + 2 * took if took > self._slow_s else 0.0), "a slow answer"
        return result
