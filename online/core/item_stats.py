"""Item sub-aggregates: what one partition's events say about an item; sums over partitions are the item's."""

from __future__ import annotations

import msgspec

from .decay import Decay, Weights
from .expiry import ITEM_EXPIRY_S
from .influence import WHOLE


class ItemStats(msgspec.Struct, array_like=True, gc=False):
    """Decayed popularity and decayed counts of one item in one partition.

    `popularity` holds one forward weight per half-life; `counts` maps event type codes to forward counts with the
    slowest half-life, so that a rate such as clicks per impression is a quotient in which the landmark cancels.
    """

    landmark: float = 0.0
    popularity: Weights = []
    counts: dict[int, float] = {}
    first_time: float = 0.0
    last_time: float = 0.0
    received: float = 0.0  # the latest `received_at` folded in
    total: float = 0.0  # popularity that does not decay


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ItemStats)
encode_item_stats = _encoder.encode
decode_item_stats = _decoder.decode


def count_item(
    stats: ItemStats,
    *,
    type_code: int,
    weight: float,
    time: float,
    factors: Weights,
    landmark: float,
    decay: Decay,
    received_at: float,
    expiry_s: float = ITEM_EXPIRY_S,
    shares: Weights = WHOLE,
) -> None:
    """Absorb one event on the item. `factors` are `decay.at(time, landmark)`, `weight` the event's value, and `shares`
    say how much of it counts by half-life (`online.core.influence`); counts take that of the slowest.

    What has not been touched for `expiry_s` of `received_at` is gone, and begins anew.
    """
    if received_at > stats.received or not stats.popularity:
        if not stats.popularity or 0.0 < stats.received < received_at - expiry_s:  # as `is_over`, for every event
            stats.popularity, stats.counts, stats.total = [0.0] * len(factors), {}, 0.0
            stats.landmark, stats.first_time, stats.last_time = landmark, time, 0.0
        stats.received = received_at
    if stats.landmark != landmark:
        if landmark > stats.landmark:
            rebase_item(stats, landmark, decay)
        else:
            factors = decay.at(time, stats.landmark)
    if weight > 0.0:
        popularity = stats.popularity
        for i, factor in enumerate(factors):
            popularity[i] += weight * shares[i] * factor
        stats.total += weight * shares[-1]
    counts = stats.counts
    counts[type_code] = counts.get(type_code, 0.0) + shares[-1] * factors[-1]
    if time > stats.last_time:
        stats.last_time = time
    if time < stats.first_time:
        stats.first_time = time


def rebase_item(stats: ItemStats, landmark: float, decay: Decay) -> None:
    """Move the landmark of an item's aggregates forward, in place."""
    slow = [0.0] * (len(decay.rates) - 1)
    counts = {code: [*slow, count] for code, count in stats.counts.items()}
    decay.rebase([stats.popularity, *counts.values()], stats.landmark, landmark)
    stats.counts = {code: weights[-1] for code, weights in counts.items()}
    stats.landmark = landmark
