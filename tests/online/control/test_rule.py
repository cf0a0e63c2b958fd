from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from online.control.control import BUILT_IN
from online.control.rule import RULE, RuleIn
from schemas.control import ControlChange


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"action": "exclude"}, "the action exclude needs where"),
        ({"action": "exclude", "where": "item.brnad == 'a'"}, "there is no item.brnad: did you mean item.brand"),
        ({"action": "exclude", "where": "true", "when": "item.price < 1"}, "this is on the request: item.price cannot"),
        ({"action": "boost", "where": "true"}, "a boost needs factor"),
        ({"action": "boost", "where": "true", "factor": 0}, "greater than or equal to 0.001"),
        ({"action": "pin", "where": "item.brand == 'a'"}, "a pin needs position"),
        ({"action": "pin", "where": "item.age_days < 1", "position": 1}, "a pin is on items by their documents"),
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
def test_a_rule_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    written = RuleIn.model_validate(document).model_dump(mode="json")
    control = BUILT_IN.applied(ControlChange(kind="rule", id="r", revision=1, document=written), "1")

    found = control.of(RULE)["r"]
    assert (found.rule.rule_id, found.version, found.rule.action) == ("r", 1, document["action"])
    assert {name: getattr(found.rule, name) for name in written} == written
