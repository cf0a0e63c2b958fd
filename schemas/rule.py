"""Rules of the business: which items may, must or should be shown to whom, where and when."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import msgspec
from pydantic import Field, StringConstraints, model_validator

from schemas.fields import PRINTABLE, SCHEMA_VERSION, Edge, EpochSeconds, Id, guarded
from schemas.slate import MAX_SLATE, Expression, Factor

Action = Literal["include", "exclude", "boost", "pin", "cap"]
Group = Literal["category", "brand", "owner_id", "group_id"]

_NEEDS = {"boost": "factor", "pin": "position", "cap": "most"}


class RuleIn(Edge):
    """One rule as a client sends it; `rule_id` may come from the path instead."""

    rule_id: Id | None = None
    action: Action
    where: Expression | None = Field(default=None, description="Which items; a cap without it is on all")
    when: Expression | None = Field(default=None, description="For which users, contexts and surfaces; default: all")
    factor: Factor | None = Field(default=None, description="Of a boost: above 1 for more, below 1 for less")
    position: Annotated[int, Field(ge=1, le=MAX_SLATE)] | None = Field(default=None, description="Of a pin, from 1 on")
    most: Annotated[int, Field(ge=1, le=MAX_SLATE)] | None = Field(default=None, description="Of a cap: slots")
    per: Group | None = Field(default=None, description="Of a cap: each of them apart; without it all items together")
    starts_at: EpochSeconds | None = None
    ends_at: EpochSeconds | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] = Field(
        default=0, description="Of two pins to one position, the higher one stands"
    )
    description: Annotated[str, StringConstraints(max_length=1000, pattern=PRINTABLE.replace("+", "*"))] = ""
    enabled: bool = True
    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION

    @model_validator(mode="after")
    def _has_what_its_action_needs(self) -> Self:
        needed = _NEEDS.get(self.action)
        given = {name for name in ("factor", "position", "most", "per") if getattr(self, name) is not None}
        if needed is not None and needed not in given:
            msg = f"a {self.action} needs {needed}"
            raise ValueError(msg)
        if others := sorted(given - {needed} - ({"per"} if self.action == "cap" else set())):
            msg = f"{others[0]} is not for the action {self.action}"
            raise ValueError(msg)
        if self.where is None and self.action != "cap":
            msg = f"the action {self.action} needs where: the items it is about"
            raise ValueError(msg)
        if self.starts_at is not None and self.ends_at is not None and self.ends_at <= self.starts_at:
            msg = "ends_at comes after starts_at"
            raise ValueError(msg)
        return self


class Rule(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True):
    """One rule as it is kept."""

    rule_id: str
    action: Action
    where: str | None = None
    when: str | None = None
    factor: float | None = None
    position: int | None = None
    most: int | None = None
    per: Group | None = None
    starts_at: float | None = None
    ends_at: float | None = None
    priority: int = 0
    description: str = ""
    enabled: bool = True
    schema_version: int = 1

    def is_on(self, now: float) -> bool:
        """Say whether the rule is enabled and its time has come and is not over.

        >>> Rule(rule_id="r", action="cap", most=1, starts_at=10.0, ends_at=20.0).is_on(20.0)
        False
        """
        has_begun = self.starts_at is None or self.starts_at <= now
        return self.enabled and has_begun and (self.ends_at is None or now < self.ends_at)


encode_rule = msgspec.json.Encoder().encode
decode_rule = guarded(msgspec.json.Decoder(Rule).decode)


def accept_rule(rule: RuleIn, *, rule_id: str) -> Rule:
    """Return the kept form of a valid rule.

    >>> accept_rule(RuleIn(action="exclude", where="item.price > 99"), rule_id="r").action
    'exclude'
    """
    return Rule(rule_id=rule_id, **rule.model_dump(exclude={"rule_id"}))
