"""Rules of the business: which items may, must or should be shown to whom, where and when."""

from __future__ import annotations

from typing import Literal

import msgspec

Action = Literal["include", "exclude", "boost", "pin", "cap"]
Group = Literal["category", "brand", "owner_id", "group_id"]


class Rule(msgspec.Struct, kw_only=True, frozen=True):
    """One rule. `where` is a condition on items, `when` one on the request; None for all of them."""

    rule_id: str
    action: Action
    where: str | None = None
    when: str | None = None
    factor: float | None = None  # of a boost
    position: int | None = None  # of a pin, from 1 on
    most: int | None = None  # of a cap
    per: Group | None = None  # of a cap
    starts_at: float | None = None
    ends_at: float | None = None
    priority: int = 0
    description: str = ""
    enabled: bool = True

    def is_on(self, now: float) -> bool:
        """Say whether the rule is enabled and its time has come and is not over.

        >>> Rule(rule_id="r", action="cap", most=1, starts_at=10.0, ends_at=20.0).is_on(20.0)
        False
        """
        has_begun = self.starts_at is None or self.starts_at <= now
        return self.enabled and has_begun and (self.ends_at is None or now < self.ends_at)
