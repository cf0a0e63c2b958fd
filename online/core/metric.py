"""Metrics as data: what is counted of a slate, against what, and how long after it was shown.

An outcome counts for the slate that it names; one that names none for the latest slate that has shown the item to the
same unit within half an hour, and a cart or purchase else for the slate where the unit has clicked the item before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from schemas.fields import Label

from .decay import DAY_S

Numerator = Literal["slates", "items", "revenue", "distinct_items"]
"""Slates that led to one of the events, items that did, what was paid for them; or how many items are shown at all."""
Denominator = Literal["slates", "slots", "units", "distinct_items"]

SAME_VISIT_S, WEEK_S = 1800.0, 7 * DAY_S


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: how many of `counts` lead to one of `events` within `window_s`, by `per`.

    Of a metric that counts distinct items there are no events, and no interval: it is no mean over units.
    """

    name: str
    events: tuple[str, ...]
    counts: Numerator
    per: Denominator
    window_s: float = SAME_VISIT_S
    less_is_better: bool = False
    description: str = ""

    @property
    def is_mean(self) -> bool:
        """Say whether it adds up over units, so that it has an interval."""
        return self.counts != "distinct_items"


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("click_rate", ("click",), "slates", "slates", description="slates with a click"),
        Metric("clicks_per_slot", ("click",), "items", "slots", description="items clicked, by items shown"),
        Metric("add_to_cart_rate", ("add_to_cart",), "slates", "slates", WEEK_S, description="slates with a cart"),
        Metric("purchase_rate", ("purchase",), "slates", "slates", WEEK_S, description="slates with a purchase"),
        Metric("revenue_per_slate", ("purchase",), "revenue", "slates", WEEK_S, description="paid for items shown"),
        Metric("revenue_per_unit", ("purchase",), "revenue", "units", WEEK_S, description="paid for items shown"),
        Metric(
            "refusal_rate",
            ("hide", "not_interested", "dislike"),
            "slates",
            "slates",
            less_is_better=True,
            description="slates of which an item was refused",
        ),
        Metric("coverage", (), "distinct_items", "distinct_items", description="items shown, of all shown"),
    )
}
"""What experiments, replay and console measure, by name."""


def _known(name: str) -> str:
    if name not in METRICS:
        msg = f"there is no metric of this name: use {', '.join(METRICS)}"
        raise ValueError(msg)
    return name


MetricName = Annotated[Label, AfterValidator(_known), Field(json_schema_extra={"enum": list(METRICS)})]
