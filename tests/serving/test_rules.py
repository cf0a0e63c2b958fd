from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Wait = Callable[..., Any]
SHOES, BOOKS = [f"shoe-{n}" for n in range(6)], [f"book-{n}" for n in range(6)]
NO_SHOES = {"action": "exclude", "where": "'shoes' in item.categories"}


@pytest.fixture
def shop(start_system: Callable[..., Any], eventually: Wait) -> Any:
    """A shop of shoes and books at two workers; a test asks the other one too."""
    system, other = start_system(), start_system()
    eventually(lambda: all(one.worker.is_ready for one in (system, other)))
    eventually(lambda: len(system.worker.contact.others()) == 2)
    system.put_items(*SHOES, categories=["shoes"], brand="acme", price=50.0)
    system.put_items(*BOOKS, categories=["books"], brand="press", price=10.0)
    eventually(lambda: all(len(one.worker.world.table) == 12 for one in (system, other)))
    system.other = other
    return system


def shown(system: Any, **ask: Any) -> list[str]:
    return [item["item_id"] for item in system.slate(**{"user_id": "1", "n": 12, **ask})["items"]]


def test_once_a_rule_is_acknowledged_every_worker_answers_under_it(shop: Any) -> None:
    answer = shop.call("PUT", "/v1/rules/no-shoes", NO_SHOES)

    assert (answer["version"], answer["lagging"], len(answer["applied_by"])) == (1, [], 2)
    for system in (shop, shop.other):
        assert sorted(shown(system)) == sorted(BOOKS)
        assert system.call("GET", "/v1/rules/no-shoes")["document"]["where"] == NO_SHOES["where"]
        assert [rule["id"] for rule in system.call("GET", "/v1/rules")["rules"]] == ["no-shoes"]
    shop.other.call("PUT", "/v1/rules/no-shoes", {**NO_SHOES, "where": "item.brand == 'press'"})
    assert sorted(shown(shop)) == sorted(SHOES)
    shop.call("POST", "/v1/rules/no-shoes:rollback")
    assert sorted(shown(shop.other)) == sorted(BOOKS)
    shop.call("DELETE", "/v1/rules/no-shoes")
    assert len(shown(shop.other)) == 12
    shop.call("GET", "/v1/rules/no-shoes", status=404)


def test_an_item_that_changes_is_seen_by_the_rule(shop: Any) -> None:
    shop.call("PUT", "/v1/rules/no-sale", {"action": "exclude", "where": "item.attributes.sale"})
    shop.call("PATCH", "/v1/items/shoe-0", {"attributes": {"sale": True}})

    assert "shoe-0" not in shown(shop)
    assert len(shown(shop)) == 11


def test_a_slate_names_the_rules_and_versions_it_was_drawn_under(shop: Any, eventually: Wait) -> None:
    boost = {"action": "boost", "where": "item.price < 20", "factor": 3}
    shop.call("PUT", "/v1/rules/cheap", boost)
    shop.call("PUT", "/v1/rules/cheap", {**boost, "factor": 4})
    shop.call("PUT", "/v1/rules/no-shoes", {**NO_SHOES, "when": "surface == 'cart'"})

    slates = [shop.slate(user_id="1", surface=surface) for surface in ("home", "cart")]
    home, cart = (eventually(lambda s=s: shop.logged_slates().get(s["recommendation_id"])) for s in slates)

    assert [(rule.rule_id, rule.version) for rule in home.rules] == [("cheap", 2)]
    assert [(rule.rule_id, rule.version) for rule in cart.rules] == [("cheap", 2), ("no-shoes", 1)]
    assert (home.removed, cart.removed) == ({}, {"rule:no-shoes": 6})


def test_a_rule_that_cannot_be_used_is_answered_with_what_is_wrong_where(shop: Any) -> None:
    problem = shop.call("PUT", "/v1/rules/r", {"action": "exclude", "where": "item.prize > 1"}, status=422)

    assert problem["errors"][0]["field"] == "where"
    assert problem["errors"][0]["message"] == "column 1: there is no item.prize: did you mean item.price?"


def test_a_dry_run_says_what_a_rule_would_change_and_keeps_nothing(shop: Any, eventually: Wait) -> None:
    for n in range(5):
        shop.slate(user_id=str(n), n=4, diversity=0.0)  # what is left is then but more likely
    eventually(lambda: len(shop.logged_slates()) == 5)

    run = shop.call("POST", "/v1/rules/new:dry_run", {"rule": NO_SHOES})

    assert (run["slates"], run["matching"]) == (5, 5)
    assert run["changed"] == len(run["examples"]) > 0
    assert set(run["removed"]["items"]) <= set(SHOES)
    assert all(not set(example["after"]) & set(SHOES) for example in run["examples"])
    coverage = run["coverage"]
    assert 0 < coverage["lost"] <= 6
    assert coverage["after"] == coverage["before"] - coverage["lost"] + coverage["gained"] <= 6
    shop.call("GET", "/v1/rules/new", status=404)
    shop.call("POST", "/v1/rules/new:dry_run", {}, status=404)


def test_a_rule_that_stands_is_tried_on_as_many_slates_as_asked_for(shop: Any, eventually: Wait) -> None:
    shop.call("PUT", "/v1/rules/later", {**NO_SHOES, "enabled": False})
    for n in range(4):
        shop.slate(user_id=str(n), n=12)
    eventually(lambda: len(shop.logged_slates()) == 4)

    run = shop.call("POST", "/v1/rules/later:dry_run", {"slates": 3})

    assert (run["slates"], run["changed"], run["shorter"]) == (3, 3, 3)
    assert run["coverage"] == {"before": 12, "after": 6, "lost": 6, "gained": 0}


def test_without_the_log_there_is_nothing_to_try_a_rule_on(shop: Any, switched_log: Any) -> None:
    switched_log.is_off = True

    assert shop.call("POST", "/v1/rules/r:dry_run", {"rule": NO_SHOES}, status=503)["code"] == "log_away"
