from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest

from replay.shop import Shop, ShopConfig

SHOP = Shop(ShopConfig())
DAY_S = 86_400.0


def sessions(shop: Shop, n: int) -> list[tuple[int, int]]:
    """Return (user, intent) of n sessions as they arrive."""
    rng = np.random.default_rng(0)
    users = [arrival.user for arrival in islice(shop.arrivals(1.0), n)]
    return [(user, int(rng.choice(shop.config.categories, p=shop.intents(user)))) for user in users]


def expected_ctr(shop: Shop, cases: list[tuple[int, int]], slate: list[str] | None) -> float:
    clicks = [shop.expected_clicks(u, i, slate or shop.oracle_slate(u, i, 10)) for u, i in cases]
    return float(np.mean(clicks)) / 10


@pytest.mark.parametrize("config", [{"seed": 1}, {"seed": 2}, {"items": 100, "users": 50}, {"items": 2000}])
def test_taste_is_worth_at_least_two_and_a_half_times_perfect_popularity(config: dict[str, int]) -> None:
    shop = Shop(ShopConfig(**config))
    cases = sessions(shop, 300)

    oracle, popular = expected_ctr(shop, cases, None), expected_ctr(shop, cases, shop.popular_slate(10))

    assert oracle >= 2.5 * popular


def test_popularity_is_an_honest_baseline_far_above_chance() -> None:
    cases = sessions(SHOP, 300)
    some = [item.item_id or "" for item in SHOP.items[:10]]

    assert expected_ctr(SHOP, cases, SHOP.popular_slate(10)) >= 3 * expected_ctr(SHOP, cases, some)


def test_popularity_has_a_heavy_tail() -> None:
    attraction = np.sort(SHOP.crowd_click_probabilities())[::-1]

    assert attraction[: len(attraction) // 10].sum() >= 0.25 * attraction.sum()
    assert attraction[0] >= 10 * np.median(attraction)


def test_knowing_the_intent_is_worth_more_than_knowing_the_user_alone() -> None:
    cases = sessions(SHOP, 200)
    known, guessed = 0.0, 0.0
    for user, intent in cases:
        chances = sum(w * SHOP.click_probabilities(user, i) for i, w in enumerate(SHOP.intents(user)))
        slate = [f"i{i}" for i in np.argsort(-np.asarray(chances))[:10]]
        guessed += SHOP.expected_clicks(user, intent, slate)
        known += SHOP.expected_clicks(user, intent, SHOP.oracle_slate(user, intent, 10))

    assert known > 1.2 * guessed


def test_no_slate_beats_the_oracle() -> None:
    shop = Shop(ShopConfig(items=30, users=4))
    rng = np.random.default_rng(0)
    for _ in range(300):
        user, intent, n = int(rng.integers(4)), int(rng.integers(12)), int(rng.integers(1, 10))
        slate = [f"i{i}" for i in rng.choice(30, size=n, replace=False)]
        assert shop.regret(user, intent, slate) >= -1e-12


def test_expected_clicks_weigh_the_click_probability_by_the_examination_of_the_slot() -> None:
    shop = Shop(ShopConfig(position_bias=1.0))

    clicks = shop.expected_clicks(3, 2, ["i5", "i9"])

    first, second = (shop.true_click_probability(3, 2, item) for item in ("i5", "i9"))
    assert clicks == pytest.approx(first + second / 2)


def test_the_same_configuration_is_the_same_shop_and_another_seed_another() -> None:
    again, other = Shop(ShopConfig()), Shop(ShopConfig(seed=8))

    assert again.items == SHOP.items
    assert np.array_equal(again.click_probabilities(5, 1), SHOP.click_probabilities(5, 1))
    assert list(islice(again.arrivals(2.0), 20)) == list(islice(SHOP.arrivals(2.0), 20))
    assert not np.array_equal(other.click_probabilities(5, 1), SHOP.click_probabilities(5, 1))


def test_tastes_stay_still_without_drift_and_move_with_it() -> None:
    shop = Shop(ShopConfig(drift=0.5))
    start = shop.config.start

    assert np.array_equal(SHOP.log_odds(3, start + 9 * DAY_S), SHOP.log_odds(3))
    moved = [np.abs(shop.log_odds(3, start + days * DAY_S) - shop.log_odds(3)).mean() for days in (0, 1, 2, 3)]
    assert moved[0] == 0.0
    assert 0.0 < moved[1] < moved[2]
    assert moved[3] == moved[2]  # it has arrived


def test_items_are_readable_documents_of_every_category() -> None:
    shop = Shop(ShopConfig(items=40, categories=20))

    assert len({item.item_id for item in shop.items}) == 40
    assert len({item.categories[0] for item in shop.items}) == 20
    assert all(item.price and item.price > 0 and item.brand for item in shop.items)
    trail_shoe = next(item for item in shop.items if item.categories == ["running"])
    assert str(trail_shoe.attributes["title"]) == f"Trail shoe {(trail_shoe.item_id or '')[1:]}"
    assert shop.category_name(0) == "running"


def test_arrivals_are_poisson_in_time_and_number_each_users_sessions() -> None:
    arrivals = list(islice(SHOP.arrivals(rate=4.0, start=1000.0), 4000))

    gaps = np.diff([a.at for a in arrivals])
    assert all(a.at < b.at for a, b in pairwise(arrivals))
    assert gaps.mean() == pytest.approx(0.25, rel=0.1)
    assert gaps.std() == pytest.approx(0.25, rel=0.1)
    busiest = np.bincount([a.user for a in arrivals]).argmax()
    own = [a.number for a in arrivals if a.user == busiest]
    assert own == list(range(len(own)))
    assert len(own) > 3 * 4000 / SHOP.config.users


def test_an_item_the_shop_does_not_have_is_an_error() -> None:
    with pytest.raises(KeyError, match="elsewhere"):
        SHOP.expected_clicks(0, 0, ["i1", "elsewhere"])


@pytest.mark.parametrize("field", ["items", "categories", "brands", "users", "dims", "slate_size"])
def test_a_shop_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be at least 1, not 0"):
        ShopConfig(**{field: 0})


PLANTED = replace(SHOP.config, newcomers=5, newcomers_after=3600.0)


def test_newcomers_are_not_there_before_they_come() -> None:
    shop, before, after = Shop(PLANTED), PLANTED.start + 3599.0, PLANTED.start + 3600.0
    great = shop.newcomers[-1].item_id or ""

    assert (*shop.opening, *shop.newcomers) == shop.items
    assert [item.created_at for item in shop.newcomers] == [after] * 5
    assert shop.true_click_probability(0, 0, great, before) == 0.0 < shop.true_click_probability(0, 0, great, after)
    assert shop.view_shares(0, 0, before)[-5:].tolist() == [0.0] * 5
    assert shop.view_shares(0, 0, after).sum() == pytest.approx(1.0)


def test_the_great_newcomer_is_the_best_for_all_together_and_nobody_comes_upon_it_more_than_upon_others() -> None:
    shop, after = Shop(PLANTED), PLANTED.start + 3600.0
    intent = int(shop.item_category[-1])

    assert shop.popular_slate(1, after) == [shop.newcomers[-1].item_id]
    assert shop.view_shares(0, intent, after)[-1] < shop.view_shares(0, intent, after).max()
    assert Shop(replace(PLANTED, newcomers=0)).popular_slate(5) == SHOP.popular_slate(5)


def test_so_many_newcomers_that_a_category_might_open_empty_are_refused() -> None:
    with pytest.raises(ValueError, match="newcomers are not fewer"):
        ShopConfig(items=120, categories=12, newcomers=10)
