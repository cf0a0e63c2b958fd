"""Policies as documents: retrievers, ranker and slot policy, with everything a policy can say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from online.core.policy import SlotPolicy
from online.core.policy_document import POLICIES, SOURCES, Policy
from online.core.value import Value
from online.models.side_by_side import NAMED
from schemas.fields import Edge, Id, Label
from schemas.slate import MAX_SLATE

from .canary import CANARY
from .experiment import EXPERIMENT
from .kind import Kind, Others
from .surface import SURFACE

RANKERS = ("learned", "popularity", *NAMED)
"""The active model, popularity alone, or one of the models by name."""
_DEFAULT = SlotPolicy()


def _known(what: str, names: tuple[str, ...]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            msg = f"there is no {what} of this name: use {', '.join(names)}"
            raise ValueError(msg)
        return name

    return AfterValidator(check)


Retriever = Annotated[Label, _known("retriever", SOURCES), Field(json_schema_extra={"enum": list(SOURCES)})]
RankerName = Annotated[Label, _known("ranker", RANKERS), Field(json_schema_extra={"enum": list(RANKERS)})]
Share = Annotated[float, Field(ge=0, le=1)]
Cap = Annotated[int, Field(ge=1, le=MAX_SLATE)]


class ValueIn(Edge):
    """The worth of a click, and of a cart and a purchase that follow it, in any one unit."""

    click: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    cart: Annotated[float, Field(ge=0, le=1e9)] = 3.0
    purchase: Annotated[float, Field(ge=0, le=1e9)] = 10.0

    @model_validator(mode="after")
    def _is_worth_something(self) -> Self:
        if self.click + self.cart + self.purchase <= 0.0:
            msg = "one of the outcomes must be worth more than 0"
            raise ValueError(msg)
        return self


class PolicyIn(Edge):
    """A policy as a client sends it; what is left out is as in `personal-1`."""

    retrievers: Annotated[list[Retriever], Field(min_length=1, max_length=len(SOURCES))] = list(SOURCES)
    ranker: RankerName = Field(
        default="learned", description="learned: the active model; popularity; or a model by name"
    )
    tau: Annotated[float, Field(gt=0, le=100)] = Field(default=_DEFAULT.tau, description="Temperature of the draws")
    epsilon: Share = Field(default=_DEFAULT.epsilon, description="Share of uniform draws per slot")
    diversity: Annotated[float, Field(ge=0, le=10)] = Field(
        default=_DEFAULT.diversity, description="Weight λ of the redundancy to the slots above"
    )
    pool: Share = Field(default=_DEFAULT.pool, description="Share of draws among new items, where new_items is silent")
    new_items: Annotated[dict[Label, Share], Field(max_length=64)] = Field(
        default={}, description="Surface -> share of draws among new items"
    )
    category_cap: Cap | None = Field(default=None, description="Most slots of one category")
    brand_cap: Cap | None = Field(default=None, description="Most slots of one brand")
    pins: Annotated[dict[Annotated[int, Field(ge=1, le=MAX_SLATE)], Id], Field(max_length=MAX_SLATE)] = Field(
        default={}, description="Position, counted from 1 -> item"
    )
    thompson: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.0, description="Standard deviations of the ranker's posterior that one of the draw counts"
    )
    fatigue: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.0, description="Taken off the utility, which is log-odds, for each time lately shown and ignored"
    )
    values: Annotated[dict[Label, ValueIn], Field(max_length=64)] = Field(
        default={}, description="Surface -> what outcomes are worth there"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.retrievers)) < len(self.retrievers):
            msg = "retrievers: one is named twice"
            raise ValueError(msg)
        if self.pool > 1.0 - self.epsilon:
            msg = "pool: the uniform draws (epsilon) leave less than that"
            raise ValueError(msg)
        if len(set(self.pins.values())) < len(self.pins):
            msg = "pins: an item can be pinned to one position only"
            raise ValueError(msg)
        return self


def _policy(policy_id: str, version: int, document: PolicyIn) -> Policy:
    return Policy(
        policy_id,
        retrievers=tuple(document.retrievers),
        ranker=document.ranker,
        slots=SlotPolicy(
            tau=document.tau,
            epsilon=document.epsilon,
            diversity=document.diversity,
            pool=document.pool,
            category_cap=document.category_cap,
            brand_cap=document.brand_cap,
        ),
        thompson=document.thompson,
        fatigue=document.fatigue,
        new_items=dict(document.new_items),
        pins=dict(document.pins),
        values={surface: Value(v.click, v.cart, v.purchase) for surface, v in document.values.items()},
        version=version,
    )


def policy_document(policy: Policy) -> Mapping[str, Any]:
    """Return the document of a policy.

    >>> policy_document(POLICIES["greedy-1"])["epsilon"]
    0.0
    """
    said = {name: value for name, value in asdict(policy).items() if name in PolicyIn.model_fields}
    return PolicyIn.model_validate({**said, **asdict(policy.slots)}).model_dump(mode="json")


def _complaint(policy_id: str, policy: Policy | None, others: Others) -> str:
    if policy is not None:
        return ""
    using = [name for name, surface in others.of(SURFACE).items() if surface.uses(policy_id)]
    if using:
        return f"surfaces answer by it, or it is their shadow: change {', '.join(using)} first"
    rolled_out = [c.surface for c in others.of(CANARY).values() if c.is_live and c.policy == policy_id]
    if rolled_out:
        return f"it is the canary of {', '.join(rolled_out)}: stop that first"
    trying = [e.experiment_id for e in others.of(EXPERIMENT).values() if any(v.policy == policy_id for v in e.variants)]
    return f"experiments answer by it: delete {', '.join(trying)} first" if trying else ""


POLICY: Kind[Policy] = Kind(
    "policy",
    PolicyIn,
    _policy,
    {policy_id: policy_document(policy) for policy_id, policy in POLICIES.items()},
    _complaint,
)
