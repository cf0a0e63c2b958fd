"""What a step of a canary has brought, read from the warehouse: sums over the users of both arms.

A slate counts as clicked once a click names it, whenever that comes: both arms are as young.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from online.core.canary import BASELINE, CANDIDATE, Canary
from online.core.guardrail import BLOCK, ArmCounts, Counts, slow_limit_level
from online.core.join import CLICKS
from online.core.ratio_mean import Sums
from online.ports import Warehouse

LEVELS = (0.99, 0.991, 0.992, 0.993, 0.994, 0.995, 0.996, 0.997, 0.998, 0.999, 1.0)
"""Of the quantiles that a limit is chosen from."""

_SLATES = """
    FROM slates FINAL
    WHERE surface = {surface:String} AND canary = {canary:String} AND canary_step = {step:UInt8}
      AND served_at >= fromUnixTimestamp64Micro({since:Int64}) AND day >= toDate({since:Int64} / 1000000) AND NOT robot
"""
_TIMES = f"""
SELECT canary_arm, count(), quantiles({", ".join(map(str, LEVELS))})(ranked_us)
{_SLATES}
GROUP BY canary_arm
"""
_OF_USERS = f"""
SELECT canary_arm,
       (count(), sum(n), sum(e), sum(n * n), sum(n * e), sum(e * e)),
       (count(), sum(n), sum(s), sum(n * n), sum(n * s), sum(s * s)),
       (count(), sum(n), sum(c), sum(n * n), sum(n * c), sum(c * c))
FROM (
    SELECT canary_arm, user_key, count() AS n, countIf(degraded) AS e, countIf(ranked_us > {{limit:Float64}}) AS s,
           countIf(recommendation_id IN (
               SELECT recommendation_id FROM events
               WHERE event_type IN {{clicks:Array(String)}} AND recommendation_id != ''
                 AND received_at >= fromUnixTimestamp64Micro({{since:Int64}})
                 AND day >= toDate({{since:Int64}} / 1000000)
           )) AS c
    {_SLATES}
    GROUP BY canary_arm, user_key
)
GROUP BY canary_arm
"""
# The first slate of each user: at a small share the same few users come again and again.
_COVERAGE = f"""
SELECT canary_arm, (count(), count(), sum(covered), count(), sum(covered), sum(covered * covered))
FROM (
    SELECT canary_arm, block, uniqExact(item) / count() AS covered
    FROM (
        SELECT canary_arm, recommendation_id, item_ids,
               intDiv(row_number() OVER (PARTITION BY canary_arm ORDER BY served_at, recommendation_id) - 1, {BLOCK})
                   AS block
        FROM (
            SELECT canary_arm, recommendation_id, served_at, item_ids
            {_SLATES}
            ORDER BY served_at, recommendation_id LIMIT 1 BY canary_arm, user_key
        )
    ) ARRAY JOIN item_ids AS item
    GROUP BY canary_arm, block HAVING uniqExact(recommendation_id) = {BLOCK}
)
GROUP BY canary_arm
"""


def canary_counts(warehouse: Warehouse, canary: Canary) -> Counts:
    """Return what the present step of a canary has brought.

    In a step without a baseline, which is the last one, the baseline's errors are those of the step before; there is
    nothing to compare the rest with, which goes by the hour.

    Raises:
        Unavailable, WarehouseError: as `Warehouse.query`.
    """
    counts = _counts(warehouse, canary, canary.step)
    if canary.steps[canary.step] < 1.0:
        return counts
    before = _counts(warehouse, canary, canary.step - 1)
    return counts._replace(baseline=ArmCounts(errors=before.baseline.errors))


def _counts(warehouse: Warehouse, canary: Canary, step: int) -> Counts:
    asked: dict[str, Any] = {
        "surface": canary.surface,
        "canary": canary.salt,
        "step": step,
        "since": round(canary.began[step] * 1e6),
    }
    times = {arm: (slates, quantiles) for arm, slates, quantiles in warehouse.query(_TIMES, asked)}
    limit = _limit_us(canary, *times.get(BASELINE, (0, ())))
    users = {row[0]: row[1:] for row in warehouse.query(_OF_USERS, {**asked, "limit": limit, "clicks": sorted(CLICKS)})}
    covered = {row[0]: row[1:] for row in warehouse.query(_COVERAGE, asked)}
    arms = [_arm(users.get(arm, ()), covered.get(arm, ())) for arm in (CANDIDATE, BASELINE)]
    p99 = [float(times[arm][1][0]) if arm in times else 0.0 for arm in (CANDIDATE, BASELINE)]
    return Counts(arms[0], arms[1], limit, (p99[0], p99[1]))


def _limit_us(canary: Canary, slates: int, quantiles: Sequence[float]) -> float:
    """Return above which time a slate counts as slow: more than 1 % of them are too many."""
    tolerated = canary.tolerated.get("latency")
    if tolerated is None or not slates:
        return 1e12
    alpha = canary.alpha / len(canary.tolerated) / len(canary.steps) / 2.0
    level = slow_limit_level(slates, alpha=alpha, planned=canary.slates)
    chosen = next(quantile for at, quantile in zip(LEVELS, quantiles, strict=True) if at >= level)
    return float(chosen) * (1.0 + tolerated)


def _arm(users: Sequence[Sequence[float]], covered: Sequence[Sequence[float]]) -> ArmCounts:
    sums = [Sums(int(row[0]), *map(float, row[1:])) for row in (*users, *covered)]
    if not users:
        return ArmCounts()
    errors, slow, clicks, *coverage = sums
    return ArmCounts(errors, slow, clicks, coverage[0] if coverage else Sums())
