from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from online.adapters.exact_index import ExactIndex
from replay.discovery import TopServed, discover
from replay.local_system import LocalSystem
from replay.shop import Shop, ShopConfig
from replay.system import Answer
from schemas.slate import RecommendIn

CONFIG = ShopConfig(users=30, items=60, categories=6, seed=3, newcomers=4, newcomers_after=900.0)
UNTIL = CONFIG.start + 2700.0


class Promoting(LocalSystem):
    """A recommender that shows the same items to everybody, those that are there."""

    def __init__(self, items: Sequence[str]) -> None:
        super().__init__(index=ExactIndex, seed=1)
        self.items = list(items)

    def recommend(self, ask: RecommendIn) -> Answer:
        shown = [item for item in self.items if item in self.world.table.documents]
        return Answer(super().recommend(ask).recommendation_id, shown, None, {})


def test_top_served_needs_a_full_window_and_forgets_what_left_it() -> None:
    served = TopServed(window=3, top=1)
    held = []
    for slate in (["a"], ["a"], ["a", "b"], ["b"], ["b"]):
        served.add(slate)
        held.append((served.holds("a"), served.holds("b")))

    assert held == [(False, False), (False, False), (True, False), (True, True), (False, True)]


def test_what_is_shown_to_all_is_found_when_fewer_than_ten_were_shown_more_often() -> None:
    shop = Shop(CONFIG)
    others, great = [f"i{n}" for n in range(10)], shop.newcomers[-1].item_id or ""

    ninth = discover(Promoting([*others[:9], great]), shop, "personal-1", rate=0.05, until=UNTIL)
    eleventh = discover(Promoting([*others, great]), shop, "personal-1", rate=0.05, until=UNTIL)
    hidden = discover(Promoting(others), shop, "personal-1", rate=0.05, until=UNTIL)

    assert (ninth.is_found, ninth.slates, ninth.shown) == (True, 1, 1)
    assert (eleventh.is_found, eleventh.slates, eleventh.shown) == (True, 100, 1)
    assert (hidden.is_found, hidden.shown) == (False, None)
    assert hidden.slates > 100
    assert hidden.events > hidden.slates


def test_exploring_finds_the_great_newcomer_sooner_than_greed() -> None:
    spent = dict.fromkeys(("greedy-1", "thompson-1"), 0)
    for seed in (3, 4):
        shop = Shop(replace(CONFIG, seed=seed))
        for policy in spent:
            system = LocalSystem(index=ExactIndex, seed=seed)
            spent[policy] += discover(system, shop, policy, rate=0.05, until=UNTIL).slates

    assert spent["thompson-1"] < spent["greedy-1"]
