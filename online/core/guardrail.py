"""Guardrails: is a candidate worse than the baseline by more than what is put up with? Pure.

Each is a mean over users of both arms, and is broken once a bound that holds at all times at once (`ratio_mean`) says
that the loss is above the tolerated one. One that holds may be looked at as often as one likes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .ratio_mean import LEAST_UNITS, Sums, at_all_times, pooled, standard_error

GUARDRAILS: Mapping[str, str] = {
    "errors": "share of slates that a lower rung answered for want of time or record, that the static list filled, or "
    "that are short: tolerated is by how much more",
    "latency": "99th percentile of the time to rank: tolerated is by which part longer",
    "click_rate": "share of slates with a click: tolerated is by which part less",
    "coverage": "different items by slot among the slates of many users: tolerated is by which part less",
}
"""Guardrail -> what it looks at."""

SLOW = 0.01  # share of slates above the 99th percentile
BLOCK = 10  # users whose first slates are looked at together, for coverage
LEAST_BLOCKS = 20  # their coverage is a mean itself, so that fewer say enough


class ArmCounts(NamedTuple):
    """Sums over the users of one arm, by guardrail; of coverage over blocks of users."""

    errors: Sums = Sums()
    slow: Sums = Sums()  # slates slower than `Counts.limit_us`
    clicks: Sums = Sums()
    coverage: Sums = Sums()


class Counts(NamedTuple):
    """What a step has brought. `p99_us` are the arms' own 99th percentiles, candidate first."""

    candidate: ArmCounts
    baseline: ArmCounts
    limit_us: float = math.inf
    p99_us: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guardrail says: both arms' figures, the loss as it seems, and whether it is surely above the tolerated."""

    guardrail: str
    candidate: float
    baseline: float
    loss: float
    tolerated: float
    is_broken: bool
    alpha: float
    candidate_units: int
    baseline_units: int

    def told(self) -> str:
        """Return why the guardrail is broken, with the figures.

        >>> Verdict("click_rate", 0.08, 0.12, 1 / 3, 0.1, True, 0.0025, 412, 3090).told()
        'click_rate: 0.08 against 0.12 (412 and 3090 users), a loss of 0.333: above the tolerated 0.1 at every look'
        """
        units = "blocks" if self.guardrail == "coverage" else "users"
        sizes = f"{self.candidate_units} and {self.baseline_units} {units}"
        return (
            f"{self.guardrail}: {self.candidate:.4g} against {self.baseline:.4g} ({sizes}), a loss of "
            f"{self.loss:.3g}: above the tolerated {self.tolerated:g} at every look"
        )


def slow_limit_level(slates: float, *, alpha: float, planned: float) -> float:
    """Return the level of the quantile that is above the 99th percentile at all times, with 1 − alpha; at most 1.

    Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and best-arm
    identification", Bernoulli 2022, for one quantile.

    >>> slow_limit_level(100, alpha=0.01, planned=1000), round(slow_limit_level(20_000, alpha=0.01, planned=1000), 4)
    (1.0, 0.9926)
    """
    if slates <= 0:
        return 1.0
    width = at_all_times(int(slates), alpha=alpha, planned=planned) * math.sqrt(SLOW * (1.0 - SLOW) / slates)
    return min(1.0, 1.0 - SLOW + width)


def judged(guardrail: str, counts: Counts, tolerated: float, *, alpha: float, planned: float) -> Verdict:
    """Return what a guardrail says, wrong with probability alpha however often it is asked.

    Args:
        guardrail: its name.
        counts: of both arms.
        tolerated: the loss that is put up with: of errors by how much their share may be larger, of the others which
            part of the baseline's figure may be lost.
        alpha: how likely a candidate that loses no more may be found to lose more.
        planned: slates of the candidate at which the bound is to be tightest.
    """
    candidate, baseline = counts.candidate, counts.baseline
    if guardrail == "errors":
        return _more(candidate.errors, baseline.errors, tolerated, alpha=alpha, planned=planned)
    if guardrail == "latency":
        return _slower(counts, tolerated, alpha=alpha, planned=planned)
    if guardrail == "click_rate":
        sums, least = (candidate.clicks, baseline.clicks), LEAST_UNITS
    else:
        sums, least, planned = (candidate.coverage, baseline.coverage), LEAST_BLOCKS, planned / BLOCK
    return _less(guardrail, *sums, tolerated, alpha=alpha, planned=planned, least=least)


def _more(candidate: Sums, baseline: Sums, tolerated: float, *, alpha: float, planned: float) -> Verdict:
    loss = candidate.mean - baseline.mean
    half = _half_width(candidate, baseline, 1.0, alpha=alpha, planned=planned, least=LEAST_UNITS)
    return _verdict("errors", candidate, baseline, loss, tolerated, loss - half > tolerated, alpha)


def _less(
    guardrail: str, candidate: Sums, baseline: Sums, tolerated: float, *, alpha: float, planned: float, least: int
) -> Verdict:
    """Judge a figure of which the part `tolerated` may be lost: what is bounded is candidate − kept · baseline."""
    if baseline.mean <= 0.0:
        return _verdict(guardrail, candidate, baseline, 0.0, tolerated, False, alpha)
    kept = 1.0 - tolerated
    half = _half_width(candidate, baseline, kept, alpha=alpha, planned=planned, least=least)
    loss = 1.0 - candidate.mean / baseline.mean
    is_broken = candidate.mean + half < kept * baseline.mean
    return _verdict(guardrail, candidate, baseline, loss, tolerated, is_broken, alpha)


def _slower(counts: Counts, tolerated: float, *, alpha: float, planned: float) -> Verdict:
    """Judge the 99th percentile: above the limit, which is the baseline's with what is tolerated, may be 1 %.

    Half of alpha is the limit's (`slow_limit_level`).
    """
    slow = counts.candidate.slow
    candidate_us, baseline_us = counts.p99_us
    loss = candidate_us / baseline_us - 1.0 if baseline_us else 0.0
    units = (slow.units, counts.baseline.slow.units)
    is_broken = False
    if min(units) >= LEAST_UNITS:
        spread = max(slow.spread(slow.mean), slow.n / slow.units * SLOW * (1.0 - SLOW))
        half = at_all_times(slow.units, alpha=alpha / 2.0, planned=planned) * standard_error(slow, spread)
        is_broken = slow.mean - half > SLOW
    return Verdict("latency", candidate_us / 1e6, baseline_us / 1e6, loss, tolerated, is_broken, alpha, *units)


def _half_width(candidate: Sums, baseline: Sums, kept: float, *, alpha: float, planned: float, least: int) -> float:
    """Return how far candidate − kept · baseline may be from the truth, infinite where too little is known.

    Both arms' users are taken to spread alike: of few users, who may all be the same, one arm alone would not say.
    """
    if min(candidate.units, baseline.units) < least:
        return math.inf
    both = pooled(candidate, baseline)
    spread = both.spread(both.mean)
    error = math.hypot(standard_error(candidate, spread), kept * standard_error(baseline, spread))
    return at_all_times(candidate.units, alpha=alpha, planned=planned) * error


def _verdict(
    guardrail: str, candidate: Sums, baseline: Sums, loss: float, tolerated: float, is_broken: bool, alpha: float
) -> Verdict:
    units = (candidate.units, baseline.units)
    return Verdict(guardrail, candidate.mean, baseline.mean, loss, tolerated, is_broken, alpha, *units)
