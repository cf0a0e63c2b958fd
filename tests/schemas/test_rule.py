from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.rule import RuleIn, accept_rule, decode_rule, encode_rule


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"action": "exclude"}, "the action exclude needs where"),
        ({"action": "boost", "where": "true"}, "a boost needs factor"),
        ({"action": "boost", "where": "true", "factor": 0}, "greater than or equal to 0.001"),
        ({"action": "pin", "where": "true"}, "a pin needs position"),
        ({"action": "pin", "where": "true", "position": 0}, "greater than or equal to 1"),
        ({"action": "cap", "per": "brand"}, "a cap needs most"),
        ({"action": "exclude", "where": "true", "factor": 2}, "factor is not for the action exclude"),
        ({"action": "boost", "where": "true", "factor": 2, "per": "brand"}, "per is not for the action boost"),
        ({"action": "cap", "most": 1, "starts_at": 5, "ends_at": 5}, "ends_at comes after starts_at"),
        ({"action": "hide", "where": "true"}, "'include', 'exclude', 'boost', 'pin' or 'cap'"),
    ],
)
def test_a_document_that_is_no_rule_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RuleIn.model_validate(document)


@pytest.mark.parametrize(
    "document",
    [
        {"action": "include", "where": "item.brand == 'a'", "when": "surface == 'home'", "startsAt": 5},
        {"action": "boost", "where": "true", "factor": 0.5, "priority": -3, "description": "less of it"},
        {"action": "pin", "where": "item.item_id == 'a'", "position": 2, "enabled": False},
        {"action": "cap", "most": 2, "per": "brand", "ends_at": "2030-01-01T00:00:00Z"},
    ],
)
def test_a_rule_is_read_as_it_was_kept(document: dict[str, Any]) -> None:
    rule = accept_rule(RuleIn.model_validate(document), rule_id="r")

    assert decode_rule(encode_rule(rule)) == rule
    assert rule.action == document["action"]
