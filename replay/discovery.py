"""How soon a policy finds the great one among the newcomers of a shop: the price of greed, and what exploring buys."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from replay.closed_loop import Loop, run
from replay.shop import Shop
from replay.shopper import Ask, Visit
from replay.system import Answer, System

WINDOW = 100  # slates
TOP = 10


@dataclass
class TopServed:
    """The items of the last slates, and whether one is among those served most.

    >>> served = TopServed(window=2, top=1)
    >>> for slate in (["a", "b"], ["b"], ["b", "c"]):
    ...     served.add(slate)
    >>> served.holds("b"), served.holds("c"), served.holds("a")
    (True, False, False)
    """

    window: int = WINDOW
    top: int = TOP
    _slates: deque[Sequence[str]] = field(default_factory=deque)
    _counts: Counter[str] = field(default_factory=Counter)

    def add(self, item_ids: Sequence[str]) -> None:
        """Absorb one slate; the oldest one leaves a full window."""
        self._slates.append(item_ids)
        self._counts.update(item_ids)
        if len(self._slates) > self.window:
            self._counts.subtract(self._slates.popleft())

    def holds(self, item_id: str) -> bool:
        """Say whether fewer than `top` items were served more often, in a full window."""
        times = self._counts[item_id]
        ahead = sum(count > times for count in self._counts.values())
        return len(self._slates) == self.window and times > 0 and ahead < self.top


class Discovery(NamedTuple):
    """Slates and events between the arrival of the newcomers and the great one's place among the most served.

    Where that never came to be, `is_found` is False and the counts are those to the end of the run. `shown` is the
    slate that showed it first.
    """

    is_found: bool
    slates: int
    events: int
    shown: int | None


def discover(system: System, shop: Shop, policy: str, *, rate: float, until: float) -> Discovery:
    """Play the shop against a system that answers everybody with one policy, until the great newcomer is found.

    Args:
        system: takes the events and answers the slates.
        shop: one with newcomers.
        policy: id of the policy.
        rate: visits per second of shop time.
        until: shop time (epoch seconds) at which no further visit begins.
    """
    great, arrival = shop.newcomers[-1].item_id or "", shop.config.start + shop.config.newcomers_after
    served, slates, before = TopServed(), 0, 0
    shown: int | None = None

    def keep(visit: Visit, ask: Ask, answer: Answer, clicks: int) -> None:
        nonlocal shown, slates
        served.add(answer.item_ids)
        if ask.at >= arrival:
            slates += 1
            shown = slates if shown is None and great in answer.item_ids else shown

    loop = Loop()
    for loop in run(system, shop, rate=rate, until=until, arms={policy: policy}, on_slate=keep):
        before = loop.events if loop.now < arrival else before
        if served.holds(great):
            return Discovery(True, slates, loop.events - before, shown)
    return Discovery(False, slates, loop.events - before, shown)
