from __future__ import annotations

from typing import Any

import pytest

from online.core.policy import SlotPolicy
from online.core.policy_document import POLICIES, Policy, policies_for
from online.core.value import Value


def test_a_request_overrides_what_it_names_and_keeps_the_rest() -> None:
    policy = Policy("p", slots=SlotPolicy(0.1, 0.2, 0.3, 0.4, category_cap=2), new_items={"cart": 0.0})

    assert policy.slots_of("home") == policy.slots
    assert policy.slots_of("cart") == SlotPolicy(0.1, 0.2, 0.3, 0.0, category_cap=2)
    assert policy.slots_of("home", diversity=0.0, epsilon=1.0) == SlotPolicy(0.1, 1.0, 0.0, 0.0, category_cap=2)


@pytest.mark.parametrize(
    "bad",
    [
        {"retrievers": ("nobody",)},
        {"retrievers": ()},
        {"thompson": -1.0},
        {"fatigue": -1.0},
        {"new_items": {"home": 1.5}},
        {"pins": {0: "a"}},
        {"pins": {1: "a", 2: "a"}},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="policy p:"):
        Policy("p", **bad)


def test_policies_are_known_by_their_ids() -> None:
    assert all(policy_id == policy.policy_id for policy_id, policy in POLICIES.items())


def test_a_shop_says_what_outcomes_are_worth_and_where_new_items_are_tried() -> None:
    policies = policies_for({"cart": Value(click=0.0)}, {"home": 0.2})

    assert policies.keys() == POLICIES.keys()
    assert all(policy.values == {"cart": Value(click=0.0)} for policy in policies.values())
    tried = {name for name, policy in policies.items() if policy.slots_of("home").pool == 0.2}
    assert tried == {"personal-1", "similar-1", "thompson-1"}
    assert policies_for({}, {}) == POLICIES


def test_a_budget_that_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match="budgets are shares"):
        policies_for({}, {"home": 2.0})
