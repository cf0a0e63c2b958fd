from __future__ import annotations

from typing import Any

import pytest

from online.core.policy import SlotPolicy
from online.core.policy_document import POLICIES, Policy


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
