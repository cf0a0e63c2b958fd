from __future__ import annotations

from typing import Any

import pytest

from headrace.simulation import simulate
from replay.shop import ShopConfig

HOURS, RATE = 0.7, 0.12


def simulated(seed: int, *, hours: float = HOURS, rate: float = RATE) -> dict[str, Any]:
    document = simulate(ShopConfig(users=60, items=120, seed=seed), hours=hours, rate=rate, quiet=True)
    del document["took_s"]
    return document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return simulated(7)


def test_taste_is_worth_more_than_popularity(document: dict[str, Any]) -> None:
    personal, popularity = document["arms"]["personal"], document["arms"]["popularity"]

    assert personal["expected_clicks_per_slate"] > 1.1 * popularity["expected_clicks_per_slate"]
    assert personal["regret_per_slate"] < popularity["regret_per_slate"]


def test_every_slate_of_both_halves_is_accounted_for(document: dict[str, Any]) -> None:
    arms = document["arms"]

    assert arms.keys() == document["last_quarter"].keys() == {"personal", "popularity"}
    assert document["visits"] > 0.8 * HOURS * 3600 * RATE
    for arm, figures in arms.items():
        assert figures["slots"] == 10 * figures["slates"]
        assert 0 < figures["clicks"] < figures["slots"]
        assert 0 < document["last_quarter"][arm]["slates"] < 0.5 * figures["slates"]
        worth = figures["expected_clicks_per_slate"] + figures["regret_per_slate"]
        assert worth == pytest.approx(figures["oracle_clicks_per_slate"], abs=2e-5)


def test_the_ranker_learns_from_the_slates(document: dict[str, Any]) -> None:
    model = document["model"]

    assert model["version"] > 1
    assert 0 < model["slates_learned"] <= sum(arm["slates"] for arm in document["arms"].values())
    assert model["mean_log_loss"] < 0.693  # a coin's


def test_the_same_seed_gives_the_same_document_and_another_seed_another_one() -> None:
    first, again, other = (simulated(seed, hours=0.15, rate=0.05) for seed in (3, 3, 4))

    assert first == again
    assert first != other
