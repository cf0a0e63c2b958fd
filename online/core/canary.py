"""Canaries: a candidate policy answers a growing share of a surface's users, as long as its guardrails hold. Pure.

Who is in is said by one hash of the user's key, so that whoever is in at one step is in at the next. Each step is
judged by itself, the candidate's users against all others of the same time: shares differ between steps, and hours
differ from one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .guardrail import Counts, Verdict, judged
from .holdout import drawn

State = Literal["running", "paused", "stopped", "passed"]
CANDIDATE, BASELINE = "candidate", "baseline"


@dataclass(frozen=True, slots=True)
class Canary:
    """A canary as it stands. `began` is when each step up to the present one began (epoch seconds).

    `steps` are shares of the users, ascending; `slates` is how many the candidate must have answered before the next
    step. `tolerated` has the guardrails, each with the loss that is put up with; `alpha` is how likely a harmless
    candidate may be stopped, all guardrails, steps and looks together.
    """

    surface: str
    policy: str
    baseline: str
    policy_version: int = 1
    baseline_version: int = 1
    steps: tuple[float, ...] = (0.01, 0.05, 0.25, 0.5, 1.0)
    minutes: float = 10.0
    slates: int = 1000
    tolerated: Mapping[str, float] = field(default_factory=dict)
    alpha: float = 0.05
    state: State = "running"
    step: int = 0
    began: tuple[float, ...] = (0.0,)
    salt: str = ""

    @property
    def is_live(self) -> bool:
        """Say whether the candidate has a share of the users."""
        return self.state in ("running", "paused")

    @property
    def share(self) -> float:
        """The share of the users that the candidate answers."""
        return self.steps[self.step] if self.is_live else 0.0


class Arm(NamedTuple):
    """The side of a canary that a unit is on; all empty for none. `policy` is to answer."""

    canary: str = ""
    arm: str = ""
    step: int = 0
    policy: str = ""


NO_ARM = Arm()


def arm_of(canary: Canary | None, unit: str | None) -> Arm:
    """Return the side of a canary that a unit is on; who is nobody is on none.

    >>> canary = Canary("home", "bold", "calm", steps=(0.5, 1.0), salt="s")
    >>> [arm_of(canary, unit).policy for unit in ("u1", "u2", "u3", None)]
    ['calm', 'bold', 'bold', '']
    """
    if canary is None or unit is None or not canary.is_live:
        return NO_ARM
    is_in = drawn("canary", canary.salt, canary.surface, unit) < canary.share
    arm, policy = (CANDIDATE, canary.policy) if is_in else (BASELINE, canary.baseline)
    return Arm(canary.salt, arm, canary.step, policy)


class Action(NamedTuple):
    """What is to become of a canary, and why; `guardrail` is the one that stops it."""

    kind: Literal["hold", "advance", "stop", "pass"]
    why: str
    guardrail: str = ""
    verdicts: tuple[Verdict, ...] = ()


def decide(canary: Canary, counts: Counts | None, now: float, *, changed: str = "") -> Action:
    """Return what is to become of a canary that has a share of the users.

    Args:
        canary: as it stands.
        counts: of the present step; None while the warehouse does not say.
        now: epoch seconds.
        changed: what of the comparison is no longer as it was when the canary began; empty for nothing.

    >>> canary = Canary("home", "bold", "calm", minutes=1.0)
    >>> decide(canary, None, 30.0).why
    'the warehouse does not answer: nothing is known of this step'
    """
    if changed:
        return Action("stop", changed)
    if counts is None:
        return Action("hold", "the warehouse does not answer: nothing is known of this step")
    parts = len(canary.tolerated) * len(canary.steps)  # of alpha
    verdicts = tuple(
        judged(name, counts, tolerated, alpha=canary.alpha / parts, planned=canary.slates)
        for name, tolerated in canary.tolerated.items()
    )
    for verdict in verdicts:
        if verdict.is_broken:
            return Action("stop", verdict.told(), verdict.guardrail, verdicts)
    if canary.state == "paused":
        return Action("hold", "it is paused", verdicts=verdicts)
    left = canary.began[-1] + canary.minutes * 60.0 - now
    if left > 0.0:
        return Action("hold", f"the step goes on for {left:.0f} s", verdicts=verdicts)
    slates = int(counts.candidate.errors.n)
    if slates < canary.slates:
        return Action("hold", f"the candidate has answered {slates} of {canary.slates} slates", verdicts=verdicts)
    if canary.step + 1 == len(canary.steps):
        return Action("pass", f"all guardrails held, to the last of {len(canary.steps)} steps", verdicts=verdicts)
    share = canary.steps[canary.step + 1]
    return Action("advance", f"all guardrails held at {canary.share:.0%}: on to {share:.0%}", verdicts=verdicts)
