import math

import numpy as np
import pytest

from replay.ranking_metrics import bootstrap_mean, hit, ndcg, reciprocal_rank


def test_ndcg_of_a_graded_list_is_the_textbook_value() -> None:
    gains = {"a": 3.0, "b": 2.0, "c": 3.0, "e": 1.0, "f": 2.0}

    dcg = 3 + 2 / math.log2(3) + 3 / 2 + 0 + 1 / math.log2(6) + 2 / math.log2(7)
    ideal = 3 + 3 / math.log2(3) + 2 / 2 + 2 / math.log2(5) + 1 / math.log2(6)
    assert ndcg(list("abcdef"), gains, 6) == pytest.approx(dcg / ideal)


def test_ndcg_counts_relevant_items_the_list_lacks() -> None:
    assert ndcg(["a"], {"a": 1.0, "b": 1.0}, 2) == pytest.approx(1 / (1 + 1 / math.log2(3)))


def test_ndcg_at_k_looks_at_no_more_than_k_items() -> None:
    assert ndcg(["x", "a"], {"a": 1.0}, 1) == 0.0
    assert ndcg(["a", "x"], {"a": 1.0, "b": 1.0, "c": 1.0}, 1) == 1.0


def test_the_first_relevant_item_alone_makes_the_reciprocal_rank() -> None:
    assert reciprocal_rank(["x", "a", "b"], {"a", "b"}, 3) == 0.5
    assert reciprocal_rank(["x", "y"], {"a"}, 2) == 0.0


def test_a_hit_needs_one_relevant_item_among_the_first_k() -> None:
    assert [hit(["x", "a"], {"a"}, k) for k in (1, 2)] == [0.0, 1.0]
    assert hit([], {"a"}, 5) == 0.0


def test_the_interval_is_repeatable_and_holds_the_mean() -> None:
    rng = np.random.default_rng(1)
    values, groups = rng.random(300), list(range(300))

    one, two = (bootstrap_mean(values, groups, seed=5) for _ in range(2))

    assert one == two
    assert one.low < one.mean < one.high
    assert one.mean == pytest.approx(values.mean())
    half_width = 1.96 * values.std() / math.sqrt(300)
    assert (one.high - one.low) / 2 == pytest.approx(half_width, rel=0.15)


def test_values_that_repeat_within_a_group_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(1)
    values = rng.random(100)

    alone = bootstrap_mean(values, list(range(100)), seed=5)
    repeated = bootstrap_mean(np.repeat(values, 9), [g for g in range(100) for _ in range(9)], seed=5)

    assert repeated == pytest.approx(alone)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        effects = np.repeat(rng.normal(size=60), 4)  # four values of a group share its effect
        values = effects + rng.normal(size=240)
        interval = bootstrap_mean(values, [g for g in range(60) for _ in range(4)], seed=seed, resamples=200)
        covered += interval.low <= 0.0 <= interval.high

    assert 175 <= covered <= 200


@pytest.mark.parametrize(("values", "groups"), [([], []), ([1.0], ["a", "b"])])
def test_values_without_their_groups_are_refused(values: list[float], groups: list[str]) -> None:
    with pytest.raises(ValueError, match="give at least one value and a group for each"):
        bootstrap_mean(values, groups, seed=1)
