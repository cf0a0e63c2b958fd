"""What the warehouse has counted of an experiment: units, slates and what came of them, by variant.

One query sorts out units, credits outcomes to slates (as `online.core.metric` says) and sums over units, so that what
comes back does not grow with the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from online.core.experiment_results import Tally
from online.core.holdout import EVERYBODY, HOLDOUT
from online.core.join import CREDIT_S, LATER, PURCHASE_WINDOW_S
from online.core.metric import METRICS, Metric
from online.core.ratio_mean import Sums
from online.ports import Warehouse

_TRIED = {
    False: "experiment_id = {experiment:String}",
    True: "NOT own_policy",  # whoever is not held out is everybody
}
_VARIANT = {False: "variant", True: f"if(held_out, '{HOLDOUT}', '{EVERYBODY}')"}

# The latest slate that shows an item, and the latest of which the unit clicked it, are found by ASOF joins. A visitor
# who has become a user is that user, in slates and events alike.
_CREDITED = """
merges AS (
    SELECT concat('v', JSONExtractString(payload, 'visitor_id')) AS visitor, argMax(user_key, timestamp) AS user
    FROM events WHERE event_type = 'merge' GROUP BY visitor
),
shown AS (
    SELECT
        recommendation_id, s.user_key AS identity, if(m.user = '', s.user_key, m.user) AS unit, time, item_ids, robot,
        {tried} AS is_tried, {variant} AS variant
    FROM (
        SELECT * FROM slates FINAL
        WHERE day >= toDate(fromUnixTimestamp64Micro({{since:Int64}}), 'UTC')
            AND served_at >= fromUnixTimestamp64Micro({{since:Int64}})
            AND served_at < fromUnixTimestamp64Micro({{until:Int64}}) AND user_key != ''
    ) AS s
    LEFT JOIN merges AS m ON s.user_key = m.visitor
),
said AS (
    SELECT
        if(m.user = '', e.user_key, m.user) AS unit, event_type, timestamp, recommendation_id, lines.1 AS item_id,
        if(priced, lines.2, ifNull(value, 0) / greatest(length(item_ids), 1)) AS amount
    FROM (
        SELECT
            user_key, event_type, timestamp, recommendation_id, value, item_ids,
            arrayMap(
                line -> (
                    JSONExtractString(line, 'item_id'),
                    JSONExtractFloat(line, 'price')
                    * if(JSONHas(line, 'quantity'), JSONExtractFloat(line, 'quantity'), 1)
                ),
                JSONExtractArrayRaw(payload, 'items')
            ) AS lines,
            arraySum(line -> line.2, lines) > 0 AS priced
        FROM events
        WHERE day >= toDate(fromUnixTimestamp64Micro({{since:Int64}}), 'UTC') AND event_type IN {{events:Array(String)}}
        ORDER BY received_at LIMIT 1 BY user_key, event_id
    ) AS e
    LEFT JOIN merges AS m ON e.user_key = m.visitor
    ARRAY JOIN lines
),
acts AS (SELECT * FROM said WHERE unit IN (SELECT unit FROM shown WHERE is_tried)),
seen AS (
    SELECT
        a.unit AS unit, a.event_type AS event_type, a.timestamp AS timestamp, a.item_id AS item_id, a.amount AS amount,
        multiIf(
            a.recommendation_id != '', a.recommendation_id,
            s.recommendation_id != '' AND a.timestamp <= s.time + toIntervalMicrosecond({{credit:Int64}}),
            s.recommendation_id, ''
        ) AS credited
    FROM acts AS a
    ASOF LEFT JOIN (
        SELECT unit, time, recommendation_id, item_id FROM shown ARRAY JOIN item_ids AS item_id
    ) AS s ON a.unit = s.unit AND a.item_id = s.item_id AND a.timestamp >= s.time
),
credited AS (
    SELECT
        s.event_type AS event_type, s.timestamp AS timestamp, s.item_id AS item_id, s.amount AS amount,
        multiIf(
            s.credited != '', s.credited,
            s.event_type IN {{later:Array(String)}} AND c.credited != ''
            AND s.timestamp <= c.timestamp + toIntervalMicrosecond({{follows:Int64}}),
            c.credited, ''
        ) AS recommendation_id
    FROM seen AS s
    ASOF LEFT JOIN (
        SELECT unit, item_id, timestamp, credited FROM seen WHERE event_type = 'click' AND credited != ''
    ) AS c ON s.unit = c.unit AND s.item_id = c.item_id AND s.timestamp >= c.timestamp
)"""

_TALLIES = """
WITH {credited},
by_slate AS (
    SELECT t.recommendation_id AS recommendation_id, {numerators}
    FROM (
        SELECT c.event_type, c.item_id, c.amount, c.recommendation_id,
            dateDiff('microsecond', t.time, c.timestamp) AS age
        FROM credited AS c INNER JOIN shown AS t ON c.recommendation_id = t.recommendation_id
        WHERE t.is_tried AND has(t.item_ids, c.item_id)
    ) AS t
    GROUP BY recommendation_id
),
by_unit AS (
    SELECT
        s.unit AS unit, groupUniqArray(s.variant) AS variants, uniqExact(s.identity) AS identities,
        max(s.robot) AS robot, count() AS slates, sum(length(s.item_ids)) AS slots, 1 AS units, {sums}
    FROM shown AS s LEFT JOIN by_slate AS o ON s.recommendation_id = o.recommendation_id
    WHERE s.is_tried
    GROUP BY unit
)
SELECT
    multiIf(
        robot, 'robots', length(variants) > 1, 'two_variants', identities > 1, 'two_identities',
        NOT has({{known:Array(String)}}, variants[1]), 'other_variants', ''
    ) AS excluded,
    if(excluded = '', variants[1], '') AS variant,
    count(), sum(slates), {terms}
FROM by_unit GROUP BY excluded, variant"""

_ITEMS = """
SELECT {variant} AS variant, uniqExact(item) FROM slates FINAL ARRAY JOIN item_ids AS item
WHERE day >= toDate(fromUnixTimestamp64Micro({{since:Int64}}), 'UTC')
    AND served_at >= fromUnixTimestamp64Micro({{since:Int64}})
    AND served_at < fromUnixTimestamp64Micro({{until:Int64}}) AND user_key != '' AND {tried}
GROUP BY GROUPING SETS ((variant), ())"""


@dataclass(frozen=True, slots=True)
class Counted:
    """Tallies by variant, why units were left out and how many, and how many items any variant has shown.

    Reasons: `robots`; `two_variants`; `two_identities`, seen as a visitor and as the user that it became, whatever the
    variants: were only those left out whose variants differ, the larger variant would keep more of them; and
    `other_variants`, such as the experiment does not have.
    """

    tallies: dict[str, Tally]
    excluded: dict[str, int]
    distinct_items: int


def count_tallies(
    warehouse: Warehouse,
    experiment_id: str,
    variants: Sequence[str],
    metrics: Sequence[str],
    *,
    since: float,
    until: float,
) -> Counted:
    """Count an experiment's slates of a time (epoch seconds), and what came of them; of the holdout, everybody's.

    Raises:
        Unavailable: the warehouse does not answer.
        WarehouseError: it refuses the query.
    """
    means = [METRICS[name] for name in metrics if METRICS[name].is_mean]
    bound: dict[str, Any] = {
        "experiment": experiment_id,
        "known": list(variants),
        "events": sorted({"click", *(event for metric in means for event in metric.events)}),
        "later": list(LATER),
        "since": round(since * 1e6),
        "until": round(until * 1e6),
        "credit": round(CREDIT_S * 1e6),
        "follows": round(PURCHASE_WINDOW_S * 1e6),
    }
    bound |= {f"window_{n}": round(metric.window_s * 1e6) for n, metric in enumerate(means)}
    bound |= {f"events_{n}": list(metric.events) for n, metric in enumerate(means)}
    is_holdout = experiment_id == HOLDOUT
    rows = warehouse.query(_tallies_sql(means, is_holdout), bound)
    excluded = {row[0]: int(row[2]) for row in rows if row[0]}
    distinct = _distinct_items(warehouse, bound, is_holdout) if len(means) < len(metrics) else {}
    tallies = {row[1]: _tally(row, means, distinct.get(row[1], 0)) for row in rows if not row[0]}
    return Counted(tallies, excluded, distinct.get("", 0))


def _tallies_sql(metrics: Sequence[Metric], is_holdout: bool) -> str:
    names = [f"y{n}" for n in range(len(metrics))]
    terms = [
        f"sum(toFloat64({term}))"
        for y, metric in zip(names, metrics, strict=True)
        for term in (metric.per, y, f"{metric.per} * {metric.per}", f"{metric.per} * {y}", f"{y} * {y}")
    ]
    return _TALLIES.format(
        credited=_CREDITED.format(tried=_TRIED[is_holdout], variant=_VARIANT[is_holdout]),
        numerators=", ".join(f"{_numerator(metric, n)} AS y{n}" for n, metric in enumerate(metrics)),
        sums=", ".join(f"toFloat64(sum(o.{y})) AS {y}" for y in names),
        terms=", ".join(terms),
    )


def _numerator(metric: Metric, n: int) -> str:
    """Return what is counted of one slate; only names of our own are in the text."""
    led = f"t.event_type IN {{events_{n}:Array(String)}} AND t.age < {{window_{n}:Int64}}"
    if metric.counts == "revenue":
        return f"sumIf(t.amount, {led})"
    return f"uniqExactIf(t.item_id, {led})" if metric.counts == "items" else f"toUInt64(countIf({led}) > 0)"


def _tally(row: Sequence[Any], metrics: Sequence[Metric], distinct_items: int) -> Tally:
    units, slates, terms = int(row[2]), int(row[3]), [float(value) for value in row[4:]]
    sums = {metric.name: Sums(units, *terms[5 * n : 5 * n + 5]) for n, metric in enumerate(metrics)}
    return Tally(units, slates, sums, distinct_items)


def _distinct_items(warehouse: Warehouse, bound: Mapping[str, Any], is_holdout: bool) -> dict[str, int]:
    """Return how many items each variant has shown, and under the empty name how many any has."""
    sql = _ITEMS.format(tried=_TRIED[is_holdout], variant=_VARIANT[is_holdout])
    return {row[0]: int(row[1]) for row in warehouse.query(sql, bound)}
