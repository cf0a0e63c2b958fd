"""Surfaces: the places where slates are shown, and what is asked for there when a request does not say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from online.core.metric import MetricName
from online.core.policy_document import DEFAULT_POLICY
from online.core.shadow import Shadow
from online.core.weighting import Weighting
from schemas.fields import Edge, Label
from schemas.slate import DEFAULT_SLATE, MAX_DEADLINE_MS, MAX_SLATE

from .kind import Kind, Others, Raw
from .model import is_model

MOST_SHADOWS = 4


class SloIn(Edge):
    """What a surface is promised: the 99th percentile of the time to answer, and the share of requests answered."""

    p99_ms: Annotated[float, Field(gt=0, le=60_000)] = 50.0
    availability: Annotated[float, Field(gt=0, le=1)] = 0.999


class ShadowIn(Edge):
    """A policy, or the surface's own with another ranker, that answers some requests a second time, unseen."""

    policy: Label | None = None
    model: Annotated[Label, AfterValidator(is_model)] | None = None
    share: Annotated[float, Field(gt=0, le=1)] = Field(default=0.1, description="Of the requests")

    @model_validator(mode="after")
    def _is_one_of_the_two(self) -> Self:
        if (self.policy is None) == (self.model is None):
            msg = "a shadow names a policy or a model"
            raise ValueError(msg)
        return self


class SurfaceIn(Edge):
    """A surface as a client sends it."""

    policy: Label = Field(default=DEFAULT_POLICY, description="Id of the policy that answers")
    n: Annotated[int, Field(ge=1, le=MAX_SLATE)] = Field(
        default=DEFAULT_SLATE, description="Slate size where the request names none"
    )
    deadline_ms: Annotated[int, Field(ge=1, le=MAX_DEADLINE_MS)] = Field(
        default=500, description="Beyond it a cheaper rung of the ladder answers"
    )
    weighting: Weighting = Field(
        default="hybrid", description="The evidence that retrieval goes by: this session's, the profile's, or both"
    )
    metrics: Annotated[list[MetricName], Field(min_length=1, max_length=8)] = Field(
        default=["click_rate"], description="What the surface is judged by, the decisive one first"
    )
    slo: SloIn = SloIn()
    shadow: Annotated[list[ShadowIn], Field(max_length=MOST_SHADOWS)] = Field(
        default=[], description="What answers some requests a second time, without being shown"
    )

    @model_validator(mode="after")
    def _shadows_differ(self) -> Self:
        if len({(shadow.policy, shadow.model) for shadow in self.shadow}) < len(self.shadow):
            msg = "shadow: one is named twice"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, slots=True)
class Surface:
    """What a request reads of a surface; `policy` is an id."""

    name: str
    policy: str = DEFAULT_POLICY
    n: int = DEFAULT_SLATE
    deadline_ms: int = 500
    weighting: Weighting = "hybrid"
    metrics: tuple[str, ...] = ("click_rate",)
    shadows: tuple[Shadow, ...] = ()

    def uses(self, policy_id: str) -> bool:
        """Say whether a policy answers on the surface, seen or unseen."""
        return policy_id == self.policy or any(shadow.policy == policy_id for shadow in self.shadows)


def _surface(name: str, version: int, document: SurfaceIn) -> Surface:
    return Surface(
        name,
        document.policy,
        document.n,
        document.deadline_ms,
        document.weighting,
        tuple(document.metrics),
        tuple(Shadow(one.policy or "", one.model or "", one.share) for one in document.shadow),
    )


def _complaint(name: str, surface: Surface | None, others: Others) -> str:
    if surface is None:
        return ""
    known = others.ids("policy")
    named = {"policy": [surface.policy], "shadow": [shadow.policy for shadow in surface.shadows if shadow.policy]}
    unknown = [field for field, ids in named.items() if not set(ids).issubset(known)]
    return f"{unknown[0]}: there is no such policy; there are {', '.join(sorted(known))}" if unknown else ""


def _built_in(**said: object) -> Raw:
    return SurfaceIn.model_validate(said).model_dump(mode="json")


SURFACE: Kind[Surface] = Kind(
    "surface",
    SurfaceIn,
    _surface,
    {
        "home": _built_in(metrics=["click_rate", "purchase_rate", "coverage"]),
        "item": _built_in(metrics=["click_rate", "add_to_cart_rate"]),
        "cart": _built_in(metrics=["add_to_cart_rate", "revenue_per_slate"]),
        "search": _built_in(metrics=["click_rate", "purchase_rate"]),
        # It is read hours after it was made: what was looked at just before says little about that moment.
        "email": _built_in(metrics=["click_rate", "revenue_per_slate"], weighting="profile", deadline_ms=5000),
    },
    _complaint,
)
