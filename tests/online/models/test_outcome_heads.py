from __future__ import annotations

import numpy as np
import pytest
from example_rows import clicked_example

from online.core.example import CART, CLICK, PURCHASE
from online.core.features import INDEX, NAMES
from online.models.outcome_heads import OutcomeHeads
from online.models.slate_rows import SlateRows, slate_rows


def clicked_rows(rng: np.random.Generator, n: int = 4) -> SlateRows:
    """Rows of which all were clicked; the dear of them are bought, whatever their slot."""
    features = rng.random((n, len(NAMES)), np.float32)
    rows = slate_rows(clicked_example(features, [True] * n))
    bought = features[:, INDEX["popularity"]] > 0.6
    return rows._replace(outcomes=np.where(bought, CLICK | CART | PURCHASE, CLICK))


def learned(n: int, heads: OutcomeHeads | None = None, seed: int = 1) -> OutcomeHeads:
    rng, heads = np.random.default_rng(seed), heads or OutcomeHeads()
    for _ in range(n):
        heads.learn_one(clicked_rows(rng))
    return heads


def test_what_is_bought_once_clicked_is_learned() -> None:
    for head in learned(800).export().values():
        assert head.weights[INDEX["popularity"]] == max(head.weights) > 1.0
        assert head.weights[INDEX["position"]] == 0.0


def test_rows_that_were_not_clicked_teach_nothing() -> None:
    heads, rows = OutcomeHeads(), clicked_rows(np.random.default_rng(1))
    before = heads.state()

    heads.learn_one(rows._replace(outcomes=np.zeros(4, np.int64)))

    assert heads.state() == before


def test_a_correction_moves_only_the_head_of_what_came_late() -> None:
    heads, rows = learned(20), clicked_rows(np.random.default_rng(2), n=1)
    before = heads.export()

    heads.correct_one(rows._replace(outcomes=np.array([PURCHASE])))

    after = heads.export()
    assert after["cart"].weights.tolist() == before["cart"].weights.tolist()
    assert after["purchase"].intercept > before["purchase"].intercept


@pytest.mark.parametrize("n", [0, 30])
def test_kept_heads_go_on_as_if_they_had_never_stopped(n: int) -> None:
    steady = learned(n)
    kept = learned(10, OutcomeHeads(steady.state()), seed=5)

    assert kept.state() == learned(10, steady, seed=5).state()
