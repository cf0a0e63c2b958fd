"""Canaries as documents: which policy is to take over a surface, by which steps, and what would stop it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from online.core.canary import Canary, State
from schemas.fields import Edge, Label

from .kind import Kind, Others

MOST_STEPS = 20
Tolerated = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Version = Annotated[int, Field(ge=1)]


class GuardrailsIn(Edge):
    """The losses that are put up with, by guardrail; null for one that is not to be looked at."""

    errors: Tolerated | None = Field(default=0.01, description="By how much the share of degraded slates may be larger")
    latency: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=0.5, description="By which part the 99th percentile of the time to rank may be longer"
    )
    click_rate: Tolerated | None = Field(default=0.1, description="Which part of the click rate may be lost")
    coverage: Tolerated | None = Field(default=0.2, description="Which part of the coverage may be lost")


class CanaryIn(Edge):
    """A canary as a client starts it; its id is the surface's name."""

    policy: Label = Field(description="Id of the candidate")
    steps: Annotated[list[Share], Field(min_length=1, max_length=MOST_STEPS)] = Field(
        default=[0.01, 0.05, 0.25, 0.5, 1.0], description="Shares of the users, ascending; the first one is below 1"
    )
    minutes: Annotated[float, Field(ge=0, le=60 * 24 * 30)] = Field(default=10.0, description="Of a step, at least")
    slates: Annotated[int, Field(ge=100, le=10**9)] = Field(
        default=1000, description="That the candidate answers in a step, at least"
    )
    guardrails: GuardrailsIn = GuardrailsIn()
    alpha: Annotated[float, Field(gt=0, le=0.5)] = Field(
        default=0.05, description="How likely a harmless candidate may be stopped, all guardrails, steps and looks"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.steps != sorted(set(self.steps)) or self.steps[0] >= 1.0:
            msg = "steps: shares that ascend, the first one below 1"
            raise ValueError(msg)
        if all(tolerated is None for tolerated in self.guardrails.model_dump().values()):
            msg = "guardrails: one at least is to be looked at"
            raise ValueError(msg)
        return self


class CanaryDocument(CanaryIn):
    """A canary as it stands on the log: what was asked for, what it is compared with, and how far it has come."""

    baseline: Label
    policy_version: Version = 1
    baseline_version: Version = 1
    state: Literal["running", "paused", "stopped", "passed"] = "running"
    step: Annotated[int, Field(ge=0, lt=MOST_STEPS)] = 0
    began: Annotated[list[float], Field(min_length=1, max_length=MOST_STEPS)]
    salt: Label
    why: str = ""

    @model_validator(mode="after")
    def _has_come_so_far(self) -> Self:
        if self.step >= len(self.steps) or len(self.began) != self.step + 1:
            msg = "step: there are not so many"
            raise ValueError(msg)
        return self


def started(surface: str, asked: CanaryIn, baseline: str, versions: tuple[int, int], now: float) -> CanaryDocument:
    """Return the document of a canary that begins: another one of the surface deals the users anew."""
    return CanaryDocument(
        **asked.model_dump(include=set(CanaryIn.model_fields)),
        baseline=baseline,
        policy_version=versions[0],
        baseline_version=versions[1],
        began=[now],
        salt=f"{surface}-{now:.3f}",
    )


def moved(document: CanaryDocument, state: State, why: str) -> CanaryDocument:
    """Return the document of a canary whose state is another."""
    return document.model_copy(update={"state": state, "why": why})


def advanced(document: CanaryDocument, why: str, now: float) -> CanaryDocument:
    """Return the document of a canary that has come to its next step."""
    return document.model_copy(update={"step": document.step + 1, "began": [*document.began, now], "why": why})


def _canary(surface: str, version: int, document: CanaryDocument) -> Canary:
    return Canary(
        surface,
        document.policy,
        document.baseline,
        policy_version=document.policy_version,
        baseline_version=document.baseline_version,
        steps=tuple(document.steps),
        minutes=document.minutes,
        slates=document.slates,
        tolerated={name: loss for name, loss in document.guardrails.model_dump().items() if loss is not None},
        alpha=document.alpha,
        state=document.state,
        step=document.step,
        began=tuple(document.began),
        salt=document.salt,
    )


def _complaint(surface: str, canary: Canary | None, others: Others) -> str:
    if canary is None or not canary.is_live:
        return ""
    known = others.ids("policy")
    if canary.policy not in known:
        return f"policy: there is none of this id; there are {', '.join(sorted(known))}"
    return "policy: it answers on the surface already" if canary.policy == canary.baseline else ""


CANARY: Kind[Canary] = Kind("canary", CanaryDocument, _canary, {}, _complaint)
