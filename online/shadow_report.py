"""What shadows of a surface would have answered, beside what was served: read from the warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from online.core.ratio_mean import Sums, interval
from online.ports import Warehouse

# Sums over users, as `Sums` has them; slates of nobody are each a user of its own.
_OF_USERS = """
SELECT policy_id, model, served_policy_id, sum(slates), min(first), max(last), argMax(share, last),
       (count(), sum(slates), sum(o), sum(slates * slates), sum(slates * o), sum(o * o)),
       (count(), sum(slates), sum(r), sum(slates * slates), sum(slates * r), sum(r * r)),
       (countIf(m > 0), sum(m), sum(s), sum(m * m), sum(m * s), sum(s * s))
FROM (
    SELECT policy_id, model, served_policy_id, argMax(share, served_at) AS share,
           count() AS slates, min(served_at) AS first, max(served_at) AS last,
           sum(overlap) AS o, sum(rank_biased_overlap) AS r, count(rank_shift) AS m, sum(ifNull(rank_shift, 0)) AS s
    FROM shadows FINAL
    WHERE surface = {surface:String} AND served_at >= fromUnixTimestamp64Micro({since:Int64})
    GROUP BY policy_id, model, served_policy_id, if(user_key = '', recommendation_id, user_key)
)
GROUP BY policy_id, model, served_policy_id
ORDER BY policy_id, model, served_policy_id
"""
_STAGES = """
SELECT policy_id, model, served_policy_id, sumMap(mapKeys(stages_us), mapValues(stages_us)),
       quantiles(0.5, 0.99)(arraySum(mapValues(stages_us)))
FROM shadows FINAL
WHERE surface = {surface:String} AND served_at >= fromUnixTimestamp64Micro({since:Int64})
GROUP BY policy_id, model, served_policy_id
"""


def shadow_report(warehouse: Warehouse, surface: str, *, since: float) -> list[dict[str, Any]]:
    """Return, for each shadow and served policy of a surface since then (epoch seconds), how alike the two are.

    Means are over slates; their intervals hold however often one looks, with users as the unit. Stages are
    microseconds on average.

    Raises:
        Unavailable, WarehouseError: as `Warehouse.query`.
    """
    asked = {"surface": surface, "since": round(since * 1e6)}
    stages = {tuple(row[:3]): row[3:] for row in warehouse.query(_STAGES, asked)}
    return [_described(row, *stages[tuple(row[:3])]) for row in warehouse.query(_OF_USERS, asked)]


def _described(row: Sequence[Any], costs: Sequence[Sequence[Any]], total_us: Sequence[float]) -> dict[str, Any]:
    policy, model, served, slates, first, last, share, overlaps, biased, shifts = row
    return {
        "policy_id": policy,
        "model": model or None,
        "served_policy_id": served,
        "share": share,
        "slates": int(slates),
        "users": int(overlaps[0]),
        "first": first.timestamp(),
        "last": last.timestamp(),
        "overlap": _mean(overlaps),
        "rank_biased_overlap": _mean(biased),
        "rank_shift": _mean(shifts),
        "stages_us": {name: round(total / slates, 1) for name, total in zip(*costs, strict=True)},
        "total_us": {"p50": round(total_us[0], 1), "p99": round(total_us[1], 1)},
    }


def _mean(values: Sequence[float]) -> dict[str, Any] | None:
    sums = Sums(int(values[0]), *map(float, values[1:]))
    if not sums.n:
        return None
    bounds = interval(sums)
    return {"mean": round(sums.mean, 6), "interval": None if bounds is None else [round(b, 6) for b in bounds]}
