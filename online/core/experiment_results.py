"""Results of an experiment: what each variant was worth, and whether that differs. Pure, of sums over units.

The variance of a metric is that of units (`online.core.ratio_mean`), since a unit's slates depend on one another. All
intervals of an experiment hold at once, and at all times at once: `ALPHA` is the chance that any of them ever misses.
What time is to them is the number of slates: as units come back, the sum of their deviations correlates with what it
was before at least as much as that of independent slates, and of Gaussian processes those that correlate more leave
their bounds less often (Slepian 1962). The number of units would not do: it stands still while they go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import sqrt
from typing import Any, Literal

from .metric import METRICS, Metric
from .ratio_mean import LEAST_UNITS, Sums, at_all_times, pooled, standard_error
from .sample_ratio import ratio_p_value

ALPHA = 0.05
MISMATCH_ALPHA = 0.01  # of the sample ratio
PLANNED = 20_000.0  # slates at which intervals are narrowest, against those that hold for a single look

Verdict = Literal["better", "worse", "open"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted of a variant: its units, their slates, and by metric the sums over units.

    In these y is the numerator of the metric, and n its denominator.
    """

    units: int = 0
    slates: int = 0
    sums: Mapping[str, Sums] = field(default_factory=dict)
    distinct_items: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the interval around it, where there is one yet."""

    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a variant is from the control; `lift` is that by the control's value, None where that is 0."""

    value: float
    lower: float | None
    upper: float | None
    lift: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class MetricResults:
    """A metric by variant, and of the others by how much they differ from the control."""

    metric: str
    variants: dict[str, Estimate]
    differences: dict[str, Difference]


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """The units that variants have, and the shares that they were to have; with a mismatch nothing else counts."""

    units: dict[str, int]
    expected: dict[str, float]
    p_value: float
    is_mismatch: bool


@dataclass(frozen=True, slots=True)
class Results:
    """What an experiment says at this moment; `conclusion` is by its first metric."""

    control: str
    sample_ratio: SampleRatio
    metrics: list[MetricResults]
    conclusion: str


def results(
    shares: Mapping[str, float],
    control: str,
    metrics: Sequence[str],
    tallies: Mapping[str, Tally],
    distinct_items: int = 0,
) -> Results:
    """Return the results of an experiment.

    Args:
        shares: variant -> the share of units that it is to have.
        control: the variant that the others are compared with.
        metrics: names, the decisive one first.
        tallies: by variant; one of which nothing was counted may be missing.
        distinct_items: how many items any variant has shown.
    """
    counted = {name: tallies.get(name, Tally()) for name in shares}
    ratio = _sample_ratio(shares, counted)
    is_mean = [METRICS[name].is_mean for name in metrics]
    alpha = ALPHA / max((len(shares) - 1) * sum(is_mean), 1)
    found = [
        _compared(METRICS[name], counted, control, alpha, ratio)
        if mean
        else _shown(name, counted, control, distinct_items)
        for name, mean in zip(metrics, is_mean, strict=True)
    ]
    return Results(control, ratio, found, _conclusion(found[0], ratio))


def _sample_ratio(shares: Mapping[str, float], tallies: Mapping[str, Tally]) -> SampleRatio:
    units = {name: tallies[name].units for name in shares}
    p_value = ratio_p_value(list(units.values()), list(shares.values()))
    return SampleRatio(units, dict(shares), p_value, p_value < MISMATCH_ALPHA)


def _compared(
    metric: Metric, tallies: Mapping[str, Tally], control: str, alpha: float, ratio: SampleRatio
) -> MetricResults:
    estimates, differences = {}, {}
    common = _common(metric.name, tallies.values())
    base, base_error = _ratio(metric.name, tallies[control], common)
    for name, tally in tallies.items():
        value, error = _ratio(metric.name, tally, common)
        is_enough = tally.units >= LEAST_UNITS
        estimates[name] = _estimate(value, _width(error, tally.slates, alpha) if is_enough else None)
        if name == control:
            continue
        slates = tally.slates + tallies[control].slates
        both = is_enough and tallies[control].units >= LEAST_UNITS
        width = _width(sqrt(error**2 + base_error**2), slates, alpha) if both else None
        apart = _estimate(value - base, width)
        verdict: Verdict = "open" if ratio.is_mismatch else _verdict(apart, metric.less_is_better)
        lift = apart.value / base if base else None
        differences[name] = Difference(apart.value, apart.lower, apart.upper, lift, verdict)
    return MetricResults(metric.name, estimates, differences)


def _ratio(metric: str, tally: Tally, common: float) -> tuple[float, float]:
    """Return the metric of a variant and its standard error; 0 of nothing.

    Its units spread at least as much as all do (`common`): of what few units do, a small variant may have seen nothing
    yet, and would be sure of it.
    """
    sums = tally.sums.get(metric, Sums())
    if sums.units < 2 or sums.n <= 0.0:
        return 0.0, 0.0
    own = sums.spread(sums.mean) * sums.units / (sums.units - 1)
    return sums.mean, standard_error(sums, max(own, common))


def _common(metric: str, tallies: Iterable[Tally]) -> float:
    """Return how much the units of all variants spread around their common ratio."""
    whole = reduce(pooled, (tally.sums[metric] for tally in tallies if metric in tally.sums), Sums())
    return whole.spread(whole.mean)


def _width(error: float, slates: int, alpha: float) -> float:
    """Return half the width of an interval."""
    return error * at_all_times(slates, alpha=alpha / 2.0, planned=PLANNED)


def _estimate(value: float, width: float | None) -> Estimate:
    return Estimate(value) if width is None else Estimate(value, value - width, value + width)


def _verdict(apart: Estimate, less_is_better: bool) -> Verdict:
    if apart.lower is None or apart.upper is None or apart.lower <= 0.0 <= apart.upper:
        return "open"
    return "better" if (apart.value > 0.0) != less_is_better else "worse"


def _shown(metric: str, tallies: Mapping[str, Tally], control: str, every: int) -> MetricResults:
    """Return the share of all items shown that each variant shows: it grows with its slates, and has no interval."""
    shares = {name: Estimate(tally.distinct_items / max(every, 1)) for name, tally in tallies.items()}
    base = shares[control].value
    differences = {
        name: Difference(one.value - base, None, None, one.value / base - 1.0 if base else None, "open")
        for name, one in shares.items()
        if name != control
    }
    return MetricResults(metric, shares, differences)


def _conclusion(decisive: MetricResults, ratio: SampleRatio) -> str:
    if ratio.is_mismatch:
        return "units are not shared out as they were to be: find out why before anything else is believed"
    told = [f"{name} is {one.verdict}" for name, one in decisive.differences.items() if one.verdict != "open"]
    return f"{', '.join(told)} in {decisive.metric}" if told else f"nothing is known yet in {decisive.metric}"


def document(found: Results) -> dict[str, Any]:
    """Return results as a document, metrics by name."""
    return {
        "conclusion": found.conclusion,
        "control": found.control,
        "alpha": ALPHA,
        "sample_ratio": found.sample_ratio,
        "metrics": {one.metric: {"variants": one.variants, "differences": one.differences} for one in found.metrics},
    }
