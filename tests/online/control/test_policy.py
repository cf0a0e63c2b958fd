from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from online.control.policy import POLICY, PolicyIn, policy_document
from online.core.policy import SlotPolicy
from online.core.policy_document import POLICIES, SOURCES, Policy
from online.core.value import Value

WHOLE = Policy(
    "p",
    retrievers=("vectors", "rules"),
    ranker="newton-1",
    slots=SlotPolicy(0.1, 0.2, 0.3, 0.4, category_cap=2, brand_cap=3),
    thompson=1.5,
    new_items={"home": 0.1},
    pins={1: "a", 3: "b"},
    values={"cart": Value(1.0, 2.0, 3.0)},
    fatigue=0.5,
    version=7,
)


@pytest.mark.parametrize("policy", [*POLICIES.values(), WHOLE])
def test_a_policy_survives_its_document(policy: Policy) -> None:
    assert POLICY.read(policy.policy_id, policy.version, policy_document(policy)) == policy


def test_an_empty_document_is_the_default_policy() -> None:
    assert POLICY.read("personal-1", 1, {}) == POLICIES["personal-1"]


@pytest.mark.parametrize(
    ("bad", "field", "hint"),
    [
        ({"retrievers": ["vectors", "vectros"]}, ("retrievers", 1), ", ".join(SOURCES)),
        ({"retrievers": []}, ("retrievers",), "at least 1"),
        ({"retrievers": ["rules", "rules"]}, (), "twice"),
        ({"ranker": "newton-9"}, ("ranker",), "learned, popularity, pointwise-1"),
        ({"tau": 0}, ("tau",), "greater than 0"),
        ({"tau": float("nan")}, ("tau",), "finite"),
        ({"epsilon": 0.8, "pool": 0.3}, (), "epsilon"),
        ({"new_items": {"home": 2}}, ("new_items", "home"), "less than or equal to 1"),
        ({"fatigue": -1}, ("fatigue",), "greater than or equal to 0"),
        ({"category_cap": 0}, ("category_cap",), "greater than or equal to 1"),
        ({"pins": {"0": "a"}}, ("pins", "0", "[key]"), "greater than or equal to 1"),
        ({"pins": {"1": "a", "2": "a"}}, (), "one position"),
        ({"values": {"home": {"click": 0, "cart": 0, "purchase": 0}}}, ("values", "home"), "more than 0"),
        ({"taus": 1}, ("taus",), "Extra"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_field(bad: dict[str, Any], field: tuple[Any, ...], hint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PolicyIn.model_validate(bad)

    (error,) = caught.value.errors()
    assert error["loc"] == field
    assert hint in error["msg"]
