"""Rules of the business as documents: which items may, must or should be shown to whom, where and when."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from online.core.rules.check import condition_on_items, condition_on_request
from online.core.rules.rule_set import CompiledRule, InvalidRule, compile_rule
from schemas.fields import Edge, EpochSeconds
from schemas.rule import Action, Group, Rule
from schemas.slate import MAX_SLATE, Expression, Factor

from .kind import Kind, Others

_NEEDS = {"boost": "factor", "pin": "position", "cap": "most"}


def _on_items(text: str) -> str:
    condition_on_items(text)
    return text


def _on_request(text: str) -> str:
    condition_on_request(text)
    return text


class RuleIn(Edge):
    """A rule as a client sends it."""

    action: Action
    where: Annotated[Expression, AfterValidator(_on_items)] | None = Field(
        default=None, description="Which items; a cap without it is on all"
    )
    when: Annotated[Expression, AfterValidator(_on_request)] | None = Field(
        default=None, description="For which users, contexts and surfaces; default: all"
    )
    factor: Factor | None = Field(default=None, description="Of a boost: above 1 for more, below 1 for less")
    position: Annotated[int, Field(ge=1, le=MAX_SLATE)] | None = Field(default=None, description="Of a pin, from 1 on")
    most: Annotated[int, Field(ge=1, le=MAX_SLATE)] | None = Field(default=None, description="Of a cap: slots")
    per: Group | None = Field(default=None, description="Of a cap: each of them apart; default: all items together")
    starts_at: EpochSeconds | None = None
    ends_at: EpochSeconds | None = None
    priority: Annotated[int, Field(ge=-1000, le=1000)] = Field(
        default=0, description="Of two pins to one position, the higher one stands"
    )
    description: Annotated[str, StringConstraints(max_length=1000)] = ""
    enabled: bool = True

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
        try:
            compile_rule(rule_of("", self))
        except InvalidRule as error:
            msg = f"{error.field}: {error}"
            raise ValueError(msg) from None
        return self


def rule_of(rule_id: str, document: RuleIn) -> Rule:
    """Return the rule that a document says."""
    return Rule(rule_id=rule_id, **document.model_dump())


def _compiled(rule_id: str, version: int, document: RuleIn) -> CompiledRule:
    return compile_rule(rule_of(rule_id, document), version)


def _complaint(rule_id: str, rule: CompiledRule | None, others: Others) -> str:
    return ""


RULE: Kind[CompiledRule] = Kind("rule", RuleIn, _compiled, {}, _complaint)
