"""Rate limits by the generic cell rate algorithm: a token bucket that is one number, when it is full again.

Source: ITU-T Recommendation I.371, annex A (virtual scheduling).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from .grant import Rate


class Verdict(NamedTuple):
    """What is left of a limit: whether the request is let through, how many more are, and seconds until all are again.

    `retry_s` is how long a request that was not let through has to wait.
    """

    is_allowed: bool
    limit: int
    remaining: int
    reset_s: float
    retry_s: float

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of draft-ietf-httpapi-ratelimit-headers (version 7)."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % math.ceil(self.reset_s)),
        ]


class RateLimits:
    """When the bucket of each name is full again. Names are those of keys and tenants: there are few.

    >>> limits = RateLimits(clock=lambda: 10.0)
    >>> [limits.take("key", Rate(per_s=2.0, burst=2)).remaining for _ in range(3)]
    [1, 0, 0]
    >>> limits.take("key", Rate(per_s=2.0, burst=2))
    Verdict(is_allowed=False, limit=2, remaining=0, reset_s=1.0, retry_s=0.5)
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    def take(self, name: str, rate: Rate) -> Verdict:
        """Take one request of a limit, if there is one left."""
        now, step = self._clock(), 1.0 / rate.per_s
        full_at = max(self._full_at.get(name, now), now) + step
        room = rate.burst * step - (full_at - now)  # seconds of requests that would be left
        if room < -1e-9:
            return Verdict(False, rate.burst, 0, full_at - step - now, -room)
        self._full_at[name] = full_at
        return Verdict(True, rate.burst, int(room / step + 1e-9), full_at - now, 0.0)
