from __future__ import annotations

import math

import numpy as np
import pytest

from online.core.experiment_results import ALPHA, Results, Tally, document, results
from online.core.ratio_mean import LEAST_UNITS, Sums

HALVES = {"now": 0.5, "new": 0.5}


def tally(y: np.ndarray, d: np.ndarray, metric: str = "click_rate", distinct: int = 0) -> Tally:
    sums = Sums(len(y), *(float(v) for v in (d.sum(), y.sum(), d @ d, d @ y, y @ y)))
    return Tally(len(y), int(d.sum()), {metric: sums}, distinct)


def users(rate: float, n: int = 4000, seed: int = 1) -> Tally:
    """Return what users with rates of their own click on, of as many slates as they like."""
    rng = np.random.default_rng(seed)
    slates = rng.geometric(0.3, n)
    return tally(rng.binomial(slates, rng.beta(rate * 5, (1 - rate) * 5, n)).astype(float), slates.astype(float))


def compared(now: Tally, new: Tally, *metrics: str, shares: dict[str, float] = HALVES) -> Results:
    return results(shares, "now", metrics or ("click_rate",), {"now": now, "new": new})


def test_a_ratio_is_that_of_the_sums_and_its_error_that_of_units() -> None:
    rng = np.random.default_rng(5)
    spread = []
    for seed in range(200):
        found = compared(users(0.2, 500, seed), users(0.2, 500, 1000 + seed)).metrics[0]
        spread.append(found.differences["new"].value)
    found = compared(users(0.2, 500, 1), users(0.2, 500, 2)).metrics[0]
    one = found.differences["new"]
    assert one.upper is not None
    width = one.upper - one.value

    # The width is a fixed multiple of the standard error: against what differences really do, that multiple is 3 to 6.
    assert 3.0 < width / np.std(spread) < 6.0
    y, d = rng.integers(0, 2, 300).astype(float), np.ones(300)
    value = compared(tally(y, d), users(0.2)).metrics[0].variants["now"].value
    assert value == pytest.approx(y.mean())


def test_a_difference_is_called_when_it_is_large_and_stays_open_when_it_is_not() -> None:
    better = compared(users(0.1), users(0.2, seed=2))
    worse = compared(users(0.2), users(0.1, seed=2))
    same = compared(users(0.2), users(0.2, seed=2))

    assert better.metrics[0].differences["new"].verdict == "better"
    assert better.conclusion == "new is better in click_rate"
    assert better.metrics[0].differences["new"].lift == pytest.approx(1.0, abs=0.2)
    assert worse.metrics[0].differences["new"].verdict == "worse"
    assert same.metrics[0].differences["new"].verdict == "open"
    assert same.conclusion == "nothing is known yet in click_rate"


def test_of_a_metric_that_is_to_be_small_less_is_better() -> None:
    def refusals(rate: float) -> Tally:
        clicked = users(rate)
        return Tally(clicked.units, clicked.slates, {"refusal_rate": clicked.sums["click_rate"]})

    found = compared(refusals(0.2), refusals(0.1), "refusal_rate")

    assert found.metrics[0].differences["new"].verdict == "better"


def test_few_units_have_no_interval_and_none_have_nothing() -> None:
    few = compared(users(0.1, LEAST_UNITS - 1), users(0.9, LEAST_UNITS - 1)).metrics[0]

    assert (few.differences["new"].lower, few.differences["new"].verdict) == (None, "open")
    assert few.variants["new"].value > 0.8
    nothing = results(HALVES, "now", ("click_rate", "coverage"), {})
    assert nothing.metrics[0].differences["new"].value == 0.0
    assert nothing.sample_ratio.units == {"now": 0, "new": 0}


def test_a_small_variant_that_has_seen_nothing_rare_yet_is_not_sure_of_it() -> None:
    many = tally((np.arange(50_000) % 100 == 0).astype(float), np.ones(50_000))
    none = tally(np.zeros(150), np.ones(150))

    found = compared(many, none, shares={"now": 0.997, "new": 0.003}).metrics[0].differences["new"]

    assert found.value == -0.01
    assert found.upper is not None
    assert found.upper > 0.0


def test_with_units_missing_nothing_is_called() -> None:
    found = compared(users(0.1), users(0.4, 3000, seed=2))

    assert found.sample_ratio.is_mismatch
    assert found.metrics[0].differences["new"].verdict == "open"
    assert "not shared out as they were to be" in found.conclusion


def test_more_metrics_and_variants_make_intervals_wider_so_that_all_hold_together() -> None:
    now, new = users(0.2), users(0.2, seed=2)
    both = {"click_rate": now.sums["click_rate"], "purchase_rate": now.sums["click_rate"]}
    alone = compared(now, new).metrics[0].variants["now"]
    beside = compared(Tally(now.units, now.slates, both), new, "click_rate", "purchase_rate").metrics[0].variants["now"]
    third = {"now": 1 / 3, "new": 1 / 3, "other": 1 / 3}
    of_three = results(third, "now", ("click_rate",), {"now": now, "new": new, "other": users(0.2, seed=3)})

    widths = [one.upper - one.lower for one in (alone, beside) if one.upper is not None and one.lower is not None]
    assert widths[0] < widths[1]
    assert of_three.metrics[0].variants["now"].lower == pytest.approx(beside.lower, rel=0.01)
    assert set(of_three.metrics[0].differences) == {"new", "other"}


def test_coverage_is_a_share_of_what_is_shown_and_has_no_interval() -> None:
    tallies = {"now": Tally(distinct_items=40), "new": Tally(distinct_items=60)}

    found = results(HALVES, "now", ("coverage", "click_rate"), tallies, 80).metrics[0]

    assert (found.variants["now"].value, found.variants["new"].value) == (0.5, 0.75)
    assert (found.differences["new"].value, found.differences["new"].lower) == (0.25, None)
    assert found.differences["new"].lift == pytest.approx(0.5)


def test_the_document_says_at_which_level_it_speaks() -> None:
    found = document(compared(users(0.1), users(0.2)))

    assert (found["alpha"], found["control"]) == (ALPHA, "now")
    assert math.isfinite(found["metrics"]["click_rate"]["differences"]["new"].value)
