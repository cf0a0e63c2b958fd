from __future__ import annotations

from collections import Counter

import pytest

from online.core.experiment import BUCKETS, NONE, Experiment, Variant, assigned, bucket_of, running, variant_of
from online.core.holdout import is_held_out

UNITS = [f"u{n}" for n in range(20_000)]


def experiment(salt: str = "e", *, weights: tuple[float, ...] = (1.0, 1.0), **said: object) -> Experiment:
    variants = [Variant(name, weight, f"policy-{name}") for name, weight in zip("abcd", weights, strict=False)]
    return Experiment(salt, **{"surface": "home", "salt": salt, "variants": variants, "control": "a"} | said)  # type: ignore[arg-type]


def misfit(counts: list[int], shares: list[float]) -> float:
    """Return Pearson's statistic by the value that one in a million fair draws exceeds (Wilson & Hilferty 1931)."""
    total, freedom = sum(counts), len(shares) - 1
    distance = sum((n - total * p) ** 2 / (total * p) for n, p in zip(counts, shares, strict=True))
    return distance / (freedom * (1.0 - 2.0 / (9.0 * freedom) + 4.753 * (2.0 / (9.0 * freedom)) ** 0.5) ** 3)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (9.0, 1.0), (1.0, 2.0, 3.0, 4.0)])
def test_each_variant_gets_its_share(weights: tuple[float, ...]) -> None:
    tried = experiment(weights=weights)
    found = Counter(variant_of(tried, unit).name for unit in UNITS)

    shares = tried.shares
    assert misfit([found[name] for name in shares], list(shares.values())) < 1.0


def test_buckets_are_dealt_evenly() -> None:
    found = Counter(bucket_of("home", unit) * 100 // BUCKETS for unit in UNITS)

    assert misfit([found[n] for n in range(100)], [0.01] * 100) < 1.0


@pytest.mark.parametrize("other", [experiment("f"), experiment("e", surface="cart")])
def test_another_salt_or_surface_deals_variants_independently(other: Experiment) -> None:
    one = experiment("e")
    found = Counter((variant_of(one, unit).name, variant_of(other, unit).name) for unit in UNITS)

    assert misfit([found[a, b] for a in "ab" for b in "ab"], [0.25] * 4) < 1.0


def test_variants_do_not_depend_on_buckets_nor_either_on_the_holdout() -> None:
    one = experiment("e")
    found = Counter(
        (variant_of(one, unit).name, bucket_of("home", unit) < BUCKETS / 2, is_held_out(unit, 0.5)) for unit in UNITS
    )

    cells = [(a, b, c) for a in "ab" for b in (True, False) for c in (True, False)]
    assert misfit([found[cell] for cell in cells], [0.125] * 8) < 1.0


def test_experiments_on_buckets_of_their_own_share_no_unit() -> None:
    first = experiment("first", end_bucket=3000)
    second = experiment("second", first_bucket=3000, end_bucket=6000)
    elsewhere = experiment("elsewhere", surface="cart")
    found = [assigned(running([first, second, elsewhere]), "home", unit) for unit in UNITS]

    counts = Counter(one.experiment_id for one in found)
    assert misfit([counts["first"], counts["second"], counts[""]], [0.3, 0.3, 0.4]) < 1.0
    assert {one.policy for one in found if one != NONE} == {"policy-a", "policy-b"}
    assert not first.overlaps(second)
    assert first.overlaps(experiment("third", first_bucket=2999, end_bucket=3001))
    assert not first.overlaps(elsewhere)


def test_nobody_is_in_an_experiment_that_was_stopped_nor_who_has_no_key() -> None:
    assert assigned(running([experiment(is_running=False)]), "home", "u1") == NONE
    assert assigned(running([experiment()]), "home", None) == NONE


def test_the_holdout_has_its_share_and_a_larger_one_keeps_who_was_in_it() -> None:
    small = {unit for unit in UNITS if is_held_out(unit, 0.01)}
    large = {unit for unit in UNITS if is_held_out(unit, 0.05)}

    assert misfit([len(small), len(UNITS) - len(small)], [0.01, 0.99]) < 1.0
    assert small < large
    assert not any(is_held_out(unit, 0.0) for unit in UNITS)
