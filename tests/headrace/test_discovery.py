from __future__ import annotations

from headrace.discovery import compare
from replay.shop import ShopConfig

CONFIG = ShopConfig(users=30, items=60, categories=6, seed=3, newcomers=4, newcomers_after=600.0)


def test_every_policy_is_told_with_its_interval_and_against_the_first() -> None:
    document = compare(CONFIG, ["greedy-1", "personal-1"], runs=2, hours=0.4, rate=0.05, quiet=True)

    assert document["seeds"] == [3, 4]
    assert document["policies"].keys() == {"greedy-1", "personal-1"}
    for figures in document["policies"].values():
        low, high = figures["slates_ci"]
        assert low <= figures["slates"] <= high
        assert (figures["n"], len(figures["by_seed"])) == (2, 2)
    greedy, personal = (document["policies"][policy] for policy in ("greedy-1", "personal-1"))
    gain = document["sooner_than_greedy-1"]["personal-1"]
    assert gain["slates"] == greedy["slates"] - personal["slates"]
    assert gain["events"] == greedy["events"] - personal["events"]
