from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from headrace.verify.propensities import ALPHA, SLOTS, slates, verify_propensities
from online.core.propensity import slot_distributions
from schemas.slate import Slate

N = 400


@pytest.fixture(scope="module")
def logged() -> list[Slate]:
    return list(slates(N, seed=1))


def with_propensities(slate: Slate, **said: object) -> Slate:
    """Return a record that says something else, with propensities that go with it."""
    other = msgspec.structs.replace(slate, **said)
    p = slot_distributions(other)[np.arange(len(other.slots)), other.slots]
    return msgspec.structs.replace(other, propensities=p.tolist())


def test_what_slates_log_is_what_they_were_drawn_with(logged: list[Slate]) -> None:
    outcome = verify_propensities(logged, seed=1)

    assert outcome.is_correct
    assert outcome.slates == N
    assert len(outcome.slots) == SLOTS
    assert all(N / 2 < slot.drawn <= N for slot in outcome.slots)
    assert min(outcome.pinned, outcome.of_new_items, outcome.with_caps, outcome.perturbed, outcome.removed) > N / 4
    assert outcome.with_rules > N / 4


@pytest.mark.parametrize(
    "planted",
    [
        lambda slate: with_propensities(slate, tau=2.0 * slate.tau),
        lambda slate: with_propensities(slate, epsilon=0.5 * (1.0 - slate.pool_share)),
        lambda slate: with_propensities(slate, pool_share=0.0),
        lambda slate: with_propensities(slate, utilities=np.zeros(len(slate.candidates)).tobytes()),
    ],
)
def test_probabilities_that_agree_with_one_another_but_not_with_the_draws_are_found(
    logged: list[Slate], planted: Callable[[Slate], Slate]
) -> None:
    outcome = verify_propensities(map(planted, logged), seed=1)

    assert outcome.wrong_propensities == 0
    assert outcome.least_p_value < ALPHA
    assert not outcome.is_correct


@pytest.mark.parametrize(
    "planted",
    [
        lambda slate: msgspec.structs.replace(slate, propensities=[0.9 * p for p in slate.propensities]),
        lambda slate: msgspec.structs.replace(slate, category_cap=None, brand_cap=None),
        lambda slate: msgspec.structs.replace(slate, pins={}),
    ],
)
def test_propensities_that_are_not_those_of_their_record_are_found(
    logged: list[Slate], planted: Callable[[Slate], Slate]
) -> None:
    outcome = verify_propensities(map(planted, logged[:100]), seed=1)

    assert outcome.wrong_propensities > 100
    assert not outcome.is_correct


def test_a_record_with_another_seed_does_not_give_its_slate_again(logged: list[Slate]) -> None:
    outcome = verify_propensities((msgspec.structs.replace(s, seed=s.seed // 2) for s in logged[:100]), seed=1)

    assert outcome.not_redrawn > 90
    assert not outcome.is_correct


def test_the_same_seed_makes_the_same_slates() -> None:
    assert list(slates(5, seed=2)) == list(slates(5, seed=2)) != list(slates(5, seed=3))
