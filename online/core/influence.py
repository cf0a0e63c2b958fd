"""Influence: what one user adds to one item's popularity is bounded, so that nobody pushes an item alone.

Let a be what the user's positive events have added to the item so far, decayed to the event's time, w ≥ 0 the event's
weight and K the bound. It adds min(a + w, K) − min(a, K). By induction the user's part of the popularity is then at
most min(a, K) at any time: decaying both sides keeps the inequality, and an event adds the same to both. While a + w
never exceeds K the part is a itself, and the order of events does not matter.
"""

from __future__ import annotations

from .decay import Weights
from .record import UserRecord
from .step import FoldConfig

WHOLE: Weights = [1.0, 1.0, 1.0]


def counted(record: UserRecord, item_id: str, weight: float, factors: Weights, config: FoldConfig) -> Weights:
    """Return how much of an event, folded into the record just now, counts for an item: a share by half-life.

    Args:
        record: of the user; it says what the user has done with the item.
        item_id: the item.
        weight: of the event.
        factors: forward weights of the event's time against the record's landmark.
        config: parameters of the fold; `influence` is K.

    >>> record = UserRecord()
    >>> record.affinities[0]["a"] = [25.0, 25.0, 25.0]
    >>> counted(record, "a", 10.0, [1.0, 1.0, 1.0], FoldConfig())
    [0.5, 0.5, 0.5]
    """
    bound, touches = config.influence, record.tail.get(item_id, 0)
    own = record.affinities[0].get(item_id) or [0.0] * len(factors)
    if item_id in record.withdrawn:
        own = [a + b for a, b in zip(own, record.withdrawn[item_id], strict=True)]
    if own[-1] / factors[-1] + touches * config.heaviest < bound:
        return WHOLE
    for touch in record.recent if touches else ():
        if touch.item_id == item_id:
            decayed = config.decay.at(touch.time, record.landmark)
            own = [a + touch.weight * f for a, f in zip(own, decayed, strict=True)]
    if own[-1] <= bound * factors[-1]:  # of positive weights, the slowest half-life keeps most
        return WHOLE
    return [_share(weight, after / factor, bound) for after, factor in zip(own, factors, strict=True)]


def _share(weight: float, after: float, bound: float) -> float:
    if weight <= 0.0:  # adds nothing to popularity, but to counts such as impressions
        return float(after <= bound)
    return max(0.0, min(after, bound) - min(after - weight, bound)) / weight
