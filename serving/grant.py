"""What an API key opens, for whom, until when, and how often."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.tenant import DEFAULT_TENANT

from .scopes import SECRET, Scopes


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests come in: `per_s` at length, `burst` at once."""

    per_s: float
    burst: int

    def share(self, of: int) -> Rate:
        """Return the part of one of several processes that count apart.

        >>> Rate(50.0, 100).share(2)
        Rate(per_s=25.0, burst=50)
        """
        return Rate(self.per_s / of, max(1, self.burst // of))


def rate_of(per_s: float | None, burst: int | None) -> Rate | None:
    """Return a limit, by default with a burst of what a second brings; None where there is none.

    >>> rate_of(2.5, None), rate_of(None, None)
    (Rate(per_s=2.5, burst=3), None)
    """
    return None if per_s is None else Rate(per_s, burst or max(1, math.ceil(per_s)))


@dataclass(frozen=True, slots=True)
class Grant:
    """What the key opens whose SHA-256 is `digest`; `expires_at` in epoch seconds."""

    digest: str
    scopes: Scopes = SECRET
    tenant: str = DEFAULT_TENANT
    expires_at: float = math.inf
    rate: Rate | None = None

    @property
    def is_of_page(self) -> bool:
        """Say whether everybody can read the key."""
        return "page" in self.scopes


Grants = Callable[[], Mapping[str, Grant] | None]
"""Returns what keys open, by digest, as it stands now; None where no key is asked."""
