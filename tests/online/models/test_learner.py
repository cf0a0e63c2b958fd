"""What every kind of learner promises."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from example_rows import clicked_example, planted_examples

from online.core.features import INDEX, NAMES, PRIOR, PRIOR_INTERCEPT
from online.core.ranker import CROSSED
from online.models.learner import CANDIDATES, Learner, new_learner
from online.models.progress import quality
from online.models.side_by_side import SIDE_BY_SIDE
from online.models.slate_rows import slate_rows

GIVEN = [slate_rows(one) for one in planted_examples(1200)]


def learned(name: str, n: int, learner: Learner | None = None, start: int = 0) -> Learner:
    learner = learner or new_learner(name)
    for rows in GIVEN[start:n]:
        learner.learn_one(rows)
    return learner


@pytest.fixture(params=CANDIDATES)
def name(request: pytest.FixtureRequest) -> str:
    given: str = request.param
    return given


def test_what_learns_side_by_side_has_a_name() -> None:
    assert set(SIDE_BY_SIDE) <= set(CANDIDATES)


def test_before_it_learns_it_is_the_prior(name: str) -> None:
    exported = new_learner(name).export("1")

    assert exported.weights.tolist() == PRIOR.tolist()
    assert exported.intercept == PRIOR_INTERCEPT


def test_a_planted_preference_is_learned(name: str) -> None:
    learner = learned(name, 1000)

    weights = dict(zip(NAMES, learner.export("1").weights - PRIOR, strict=True))
    assert weights["brand_lasting"] == max(weights.values()) > 1.0
    mean = [
        np.mean([quality(each.log_odds(rows), rows.clicked, rows.weights).log_loss for rows in GIVEN[1000:]])
        for each in (learner, new_learner(name))
    ]
    assert mean[0] < 0.82 * mean[1]


def test_the_slot_takes_its_part_so_that_a_clicked_first_slot_proves_little(name: str) -> None:
    alike = np.full((8, len(NAMES)), 0.5, np.float32)
    first, last = new_learner(name), new_learner(name)
    for _ in range(300):
        first.learn_one(slate_rows(clicked_example(alike, [True] + [False] * 7)))
        last.learn_one(slate_rows(clicked_example(alike, [False] * 7 + [True])))

    position = INDEX["position"]
    assert first.export("").weights[position] > PRIOR[position] > last.export("").weights[position]


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_a_source_that_earns_clicks_on_one_surface_only_weighs_more_there(name: str) -> None:
    learner = new_learner(name)
    on_item = planted_examples(600, taste=CROSSED[0], surface="item")
    for pair in zip(on_item, planted_examples(600, seed=9), strict=True):
        for one in pair:
            learner.learn_one(slate_rows(one))

    exported, at = learner.export("1"), NAMES.index(CROSSED[0])
    assert exported.weights_on("item")[at] > exported.weights_on("home")[at] + 0.5
    restored = new_learner(name, learner.state())
    assert restored.export("1").weights_on("item").tolist() == exported.weights_on("item").tolist()


@pytest.mark.parametrize("n", [0, 1, 100])
def test_a_restored_learner_goes_on_as_if_it_had_never_stopped(name: str, n: int) -> None:
    steady = learned(name, n)
    restored = new_learner(name, steady.state())
    assert restored.state() == steady.state()

    learned(name, 200, steady, n)
    learned(name, 200, restored, n)

    assert restored.state() == steady.state()


def test_asking_changes_nothing_and_the_state_is_plain_json(name: str) -> None:
    learner = learned(name, 10)
    before = learner.state()

    learner.log_odds(GIVEN[0])
    exported = learner.export("1")
    np.add(exported.weights, 1.0, out=exported.weights)

    assert learner.state() == before
    assert msgspec.json.decode(before)


def test_a_slate_of_which_all_was_clicked_or_nothing_does_no_harm(name: str) -> None:
    learner = new_learner(name)
    for clicked in ([True], [False], [True, True]):
        features = np.full((len(clicked), len(NAMES)), 0.5, np.float32)
        learner.learn_one(slate_rows(clicked_example(features, clicked)))

    assert np.isfinite(learner.export("").weights).all()
