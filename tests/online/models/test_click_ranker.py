from __future__ import annotations

import msgspec
import numpy as np
import pytest
from example_rows import clicked_example, planted_examples
from river import linear_model, optim

from online.core.example import Example
from online.core.features import NAMES, PRIOR, PRIOR_INTERCEPT
from online.core.ranker import CROSSED
from online.models.click_ranker import MAX_SURFACES, ClickRanker, ClickRankerConfig
from online.models.slate_rows import SlateRows, slate_rows


def learned(given: list[Example], ranker: ClickRanker | None = None) -> ClickRanker:
    ranker = ranker or ClickRanker()
    for one in given:
        ranker.learn_one(slate_rows(one))
    return ranker


def with_crosses(features: list[float], surface: str) -> dict[str, float]:
    row = dict(zip(NAMES, features, strict=True))
    return row | {f"{name}@{surface}": row[name] for name in CROSSED}


def dicts(rows: SlateRows) -> list[dict[str, float]]:
    return [with_crosses(row, rows.surface) for row in rows.features.tolist()]


def test_the_exported_ranker_scores_200_candidates_as_the_learner_itself() -> None:
    ranker = learned([*planted_examples(100), *planted_examples(100, surface="item", seed=3)])
    exported = ranker.export("1")
    features = np.random.default_rng(1).random((200, len(NAMES)), np.float32)

    for surface in ("home", "item"):
        utilities = exported.utilities(features, surface)
        for row, utility in zip(features.tolist(), utilities, strict=True):
            probability = ranker.predict_one(with_crosses(row, surface))
            assert probability == pytest.approx(1 / (1 + np.exp(-utility)), abs=1e-6)


def test_it_learns_as_rivers_logistic_regression_does() -> None:
    config, given = ClickRankerConfig(), [slate_rows(one) for one in planted_examples(50)]
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
    for rows in given:
        for row, clicked in zip(dicts(rows), rows.clicked.tolist(), strict=True):
            plain.learn_one(row, clicked)

    ranker = learned(planted_examples(50))

    exported = ranker.export("1")
    assert exported.weights == pytest.approx([plain.weights[name] for name in NAMES], abs=1e-6)
    assert exported.intercept == pytest.approx(plain.intercept, abs=1e-6)
    crossed = [NAMES.index(name) for name in CROSSED]
    assert exported.crosses["home"][crossed] == pytest.approx([plain.weights[f"{n}@home"] for n in CROSSED], abs=1e-6)


def test_what_it_expects_of_a_slate_is_what_river_predicts() -> None:
    ranker, rows = learned(planted_examples(50)), slate_rows(planted_examples(1, seed=5)[0])

    probabilities = 1 / (1 + np.exp(-ranker.log_odds(rows)))

    assert probabilities == pytest.approx([ranker.predict_one(row) for row in dicts(rows)], abs=1e-6)


def test_a_source_that_earns_clicks_on_one_surface_only_weighs_more_there() -> None:
    source = CROSSED[0]
    given = [
        one
        for pair in zip(
            planted_examples(600, taste=source, surface="item"),
            planted_examples(600, taste="brand_lasting", surface="home", seed=9),
            strict=True,
        )
        for one in pair
    ]

    exported = learned(given).export("1")

    at = NAMES.index(source)
    assert exported.weights_on("item")[at] > exported.weights_on("home")[at] + 1.0


def test_a_row_that_weighs_three_is_learned_three_times_as_much() -> None:
    rows = slate_rows(clicked_example(np.full((1, len(NAMES)), 0.5, np.float32), [True]))
    light, heavy = ClickRanker(), ClickRanker()
    light.learn_one(rows)
    heavy.learn_one(rows._replace(weights=np.array([3.0])))

    moved = [ranker.export("").intercept - PRIOR_INTERCEPT for ranker in (light, heavy)]
    assert moved[1] == pytest.approx(3 * moved[0])


def test_surfaces_with_weights_of_their_own_are_bounded() -> None:
    ranker = ClickRanker()
    for number in range(MAX_SURFACES + 5):
        ranker.learn_one(slate_rows(planted_examples(1, surface=f"s{number}")[0]))

    assert len(ranker.export("").crosses) == MAX_SURFACES


def test_a_state_without_a_feature_starts_it_from_its_prior_and_forgets_one_that_is_gone() -> None:
    document = msgspec.json.decode(learned(planted_examples(5)).state())
    del document["weights"]["popularity"]
    document["weights"]["sunshine"] = 7.0

    restored = ClickRanker.from_state(msgspec.json.encode(document))

    assert restored.export("").weights[NAMES.index("popularity")] == PRIOR[NAMES.index("popularity")]
    assert b"sunshine" not in restored.state()
