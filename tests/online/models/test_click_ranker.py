from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from river import linear_model, optim

from online.core.example import Example
from online.core.features import INDEX, NAMES, PRIOR, PRIOR_INTERCEPT, position_feature
from online.core.ranker import PRIOR_RANKER
from online.models.click_ranker import ClickRanker, ClickRankerConfig

SEED = 8


def example(features: NDArray[np.float32], clicked: list[bool], number: int = 0) -> Example:
    n = len(clicked)
    return Example(
        f"r{number}", 0, "home", 0.0, "", list(NAMES), features.tobytes(), list(range(1, n + 1)), clicked
    )  # fmt: skip


def examples(n: int, *, taste: str = "brand_lasting", seed: int = SEED) -> list[Example]:
    """Slates of 8 rows in which only one feature, and the position, make clicks likely."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n):
        features = rng.random((8, len(NAMES)), np.float32)
        examination = np.array([position_feature(p) for p in range(1, 9)])
        odds = 6.0 * features[:, INDEX[taste]] - 4.0 + 2.0 * examination
        clicked = rng.random(8) < 1 / (1 + np.exp(-odds))
        made.append(example(features, clicked.tolist(), number))
    return made


def learned(given: list[Example], ranker: ClickRanker | None = None) -> ClickRanker:
    ranker = ranker or ClickRanker()
    for one in given:
        ranker.learn_one(one)
    return ranker


def rows(one: Example) -> list[dict[str, float]]:
    matrix = np.frombuffer(one.features, np.float32).reshape(-1, len(NAMES)).copy()
    matrix[:, INDEX["position"]] = [position_feature(p) for p in one.positions]
    return [dict(zip(NAMES, row, strict=True)) for row in matrix.tolist()]


def test_before_it_learns_it_is_the_prior() -> None:
    exported = ClickRanker().export("1")

    assert exported.weights.tolist() == PRIOR.tolist() == PRIOR_RANKER.weights.tolist()
    assert exported.intercept == PRIOR_INTERCEPT


def test_the_exported_ranker_scores_as_the_learner_itself() -> None:
    ranker = learned(examples(200))
    exported = ranker.export("1")
    features = np.random.default_rng(1).random((200, len(NAMES)), np.float32)

    utilities = exported.utilities(features)

    for row, utility in zip(features.tolist(), utilities, strict=True):
        probability = ranker.predict_one(dict(zip(NAMES, row, strict=True)))
        assert probability == pytest.approx(1 / (1 + np.exp(-utility)), abs=1e-6)


def test_it_learns_as_rivers_logistic_regression_does() -> None:
    config, given = ClickRankerConfig(), examples(50)
    plain = linear_model.LogisticRegression(
        optimizer=optim.AdaGrad(config.learning_rate),
        l2=config.l2,
        intercept_init=PRIOR_INTERCEPT,
        intercept_lr=config.intercept_rate,
        initializer=optim.initializers.Constant(0.0),
    )
    plain.learn_one(dict.fromkeys(NAMES, 0.0), y=False)  # makes the weights, whose gradient is 0 here
    plain.intercept = PRIOR_INTERCEPT
    for name, prior in zip(NAMES, PRIOR.tolist(), strict=True):
        plain._weights[name] = prior
    for one in given:
        for row, clicked in zip(rows(one), one.clicked, strict=True):
            plain.learn_one(row, clicked)

    exported = learned(given).export("1")

    assert exported.weights == pytest.approx([plain.weights[name] for name in NAMES], abs=1e-6)
    assert exported.intercept == pytest.approx(plain.intercept, abs=1e-6)


def test_a_planted_preference_is_learned() -> None:
    ranker = learned(examples(1500))
    weights = dict(zip(NAMES, ranker.export("1").weights.tolist(), strict=True))

    prior = dict(zip(NAMES, PRIOR.tolist(), strict=True))
    assert weights["brand_lasting"] > prior["brand_lasting"] + 2.0
    assert weights["brand_lasting"] == max(weights.values())
    assert weights["position"] > 0.5
    assert ranker.log_loss is not None
    assert ranker.mean_log_loss is not None
    assert ranker.log_loss < ranker.mean_log_loss


def test_the_slot_takes_its_part_so_that_a_clicked_first_slot_proves_little() -> None:
    alike = np.full((8, len(NAMES)), 0.5, np.float32)
    first = learned([example(alike, [True] + [False] * 7)] * 300).export("1")
    last = learned([example(alike, [False] * 7 + [True])] * 300).export("1")

    assert first.weights[INDEX["position"]] > last.weights[INDEX["position"]]


def test_every_row_of_a_slate_is_scored_before_any_is_learned() -> None:
    features = np.full((2, len(NAMES)), 0.5, np.float32)
    one = example(features, [True, False])
    before = ClickRanker()
    losses = [
        -np.log(p if clicked else 1 - p)
        for p, clicked in ((before.predict_one(row), c) for row, c in zip(rows(one), one.clicked, strict=True))
    ]

    ranker = learned([one])

    assert ranker.log_loss == pytest.approx(0.999 * losses[0] + 0.001 * losses[1])


def test_it_counts_slates_rows_and_clicks() -> None:
    given = examples(20)

    ranker = learned(given)

    assert (ranker.slates, ranker.rows) == (20, 160)
    assert ranker.clicks == sum(sum(one.clicked) for one in given) > 0


def test_asking_changes_nothing() -> None:
    ranker = learned(examples(10))
    before = ranker.state()

    ranker.predict_one(rows(examples(1)[0])[0])
    ranker.predict_one({"a feature nobody knows": 1.0})
    ranker.export("1")

    assert ranker.state() == before


@pytest.mark.parametrize("n", [0, 1, 150])
def test_a_restored_learner_goes_on_as_if_it_had_never_stopped(n: int) -> None:
    given = examples(300)
    steady = learned(given[:n])
    restored = ClickRanker.from_state(steady.state())
    assert restored.state() == steady.state()

    learned(given[n:], steady)
    learned(given[n:], restored)

    assert restored.state() == steady.state()
    assert restored.export("1").weights.tolist() == steady.export("1").weights.tolist()


def test_the_state_is_plain_json() -> None:
    document = msgspec.json.decode(learned(examples(3)).state())

    assert set(document["weights"]) == set(NAMES)
    assert document["iterations"] == 24


def test_the_same_examples_give_the_same_bytes() -> None:
    assert learned(examples(50)).state() == learned(examples(50)).state()


def test_an_example_of_other_features_is_refused_and_learns_nothing() -> None:
    ranker = learned(examples(3))
    before = ranker.state()
    other = msgspec.structs.replace(examples(1)[0], feature_names=[*NAMES[:-1], "another"])

    with pytest.raises(ValueError, match="other features"):
        ranker.learn_one(other)

    assert ranker.state() == before


def test_an_example_whose_parts_do_not_fit_is_refused_and_learns_nothing() -> None:
    ranker = learned(examples(3))
    before = ranker.state()
    good = examples(1)[0]

    for broken in (
        msgspec.structs.replace(good, features=good.features[:-4]),
        msgspec.structs.replace(good, clicked=[True]),
        msgspec.structs.replace(good, positions=[1]),
    ):
        with pytest.raises(ValueError, match=r"position or label|size"):
            ranker.learn_one(broken)

    assert ranker.state() == before
