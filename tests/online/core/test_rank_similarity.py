from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.core.rank_similarity import overlap, rank_biased_overlap, rank_shift

RANKING = st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=12)


def agreements(one: list[str], other: list[str], depth: int) -> list[float]:
    return [len(set(one[:d]) & set(other[:d])) / d for d in range(1, depth + 1)]


@given(RANKING, RANKING)
def test_rankings_are_alike_in_both_directions_and_between_0_and_1(one: list[str], other: list[str]) -> None:
    assert overlap(one, other) == overlap(other, one)
    assert rank_biased_overlap(one, other) == pytest.approx(rank_biased_overlap(other, one))
    assert -1e-12 <= rank_biased_overlap(one, other) <= 1.0 + 1e-12
    assert rank_biased_overlap(one, one) == pytest.approx(1.0)


@given(RANKING.filter(bool).flatmap(lambda one: st.tuples(st.just(one), st.permutations(one))))
def test_of_even_rankings_it_is_the_sum_over_all_depths_with_the_last_agreement_going_on(
    pair: tuple[list[str], list[str]],
) -> None:
    one, other = pair
    seen, p = agreements(one, other, len(one)), 0.9
    endless = [*seen, *[seen[-1]] * 600]

    assert rank_biased_overlap(one, other, persistence=p) == pytest.approx(
        (1 - p) * sum(agreement * p**d for d, agreement in enumerate(endless))
    )


def test_a_ranking_that_ends_early_agrees_below_as_much_as_it_did() -> None:
    whole = list("abcdefghij")

    assert rank_biased_overlap(whole, whole[:3]) == pytest.approx(1.0)
    assert overlap(whole, whole[:3]) == 0.3
    assert rank_biased_overlap(whole, ["x", "y", "z"]) == 0.0


def test_a_difference_at_the_top_counts_more_than_one_below() -> None:
    whole = list("abcdefghij")

    assert rank_biased_overlap(whole, ["x", *whole[1:]]) < rank_biased_overlap(whole, [*whole[:-1], "x"])
    assert rank_shift(whole, whole[::-1]) == 5.0
