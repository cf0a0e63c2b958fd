"""Canaries on made-up traffic, decided by the rule that decides real ones: how often is which one stopped, and when?

Users come back: each has slates at times of its own all through a step, clicks as readily as it does, and is on one
side for good. A candidate may click worse, take longer, fail more often or show fewer items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from online.core.canary import Canary, decide
from online.core.guardrail import BLOCK, ArmCounts, Counts, slow_limit_level
from online.core.ratio_mean import Sums

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a candidate does to the baseline's figures; nothing by default. `items` is the share of items it shows."""

    clicks: float = 1.0
    time: float = 1.0
    errors: float = 0.0
    items: float = 1.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What comes to a surface: slates of a user, how unlike users are, and the figures of the baseline."""

    slates_per_user: float = 3.0
    clicks: tuple[float, float] = (1.0, 5.0)  # parameters of the beta distribution of users' click rates
    errors: float = 0.002
    spread_of_time: float = 0.6  # standard deviation of log time
    items: int = 500
    slots: int = 10


class Outcome(NamedTuple):
    """What became of a canary: its end, the step it had come to, the candidate's slates, and what stopped it."""

    end: str
    step: int
    slates: int
    guardrail: str
    why: str


def trial(canary: Canary, effect: Effect, rng: np.random.Generator, *, traffic: Traffic, looks: int = 20) -> Outcome:
    """Let a canary run to its end, with so many looks in each step.

    Users of a step are those that give the candidate the slates that the canary asks for, and then some.
    """
    total = 0
    while True:
        step = _Step(canary, effect, rng, traffic)
        for look in range(1, looks + 1):
            counts, now = step.counts(look / looks), canary.began[-1] + look / looks * (canary.minutes * 60.0 + 1.0)
            action = decide(canary, counts, now)
            slates = total + int(counts.candidate.errors.n)
            if action.kind in ("stop", "pass"):
                return Outcome(action.kind, canary.step, slates, action.guardrail, action.why)
            if action.kind == "advance":
                break
        else:
            return Outcome("hold", canary.step, slates, "", action.why)
        total = slates
        canary = replace(canary, step=canary.step + 1, began=(*canary.began, now))


class _Step:
    """The traffic of one step, slates in the order of their times."""

    def __init__(self, canary: Canary, effect: Effect, rng: np.random.Generator, traffic: Traffic) -> None:
        self._canary = canary
        users = int(1.3 * canary.slates / canary.share / traffic.slates_per_user) + 1
        slates = rng.geometric(1.0 / traffic.slates_per_user, users)
        user = rng.permutation(np.repeat(np.arange(users), slates))
        self._is_in = rng.random(users) < canary.share
        is_in = self._is_in[user]
        rates = rng.beta(*traffic.clicks, users)[user] * np.where(is_in, effect.clicks, 1.0)
        self._user, self._users = user, users
        self._clicked = rng.random(len(user)) < rates
        self._failed = rng.random(len(user)) < traffic.errors + np.where(is_in, effect.errors, 0.0)
        times = rng.lognormal(7.0, traffic.spread_of_time, len(user))
        self._times = times * np.where(is_in, effect.time, 1.0)
        self._first = np.sort(np.unique(user, return_index=True)[1])
        self._covered = {side: _coverage(side, effect, self._first, is_in, rng, traffic) for side in (True, False)}

    def counts(self, part: float) -> Counts:
        """Return what a part of the step has brought."""
        end = int(part * len(self._user))
        is_in = self._is_in[self._user[:end]]
        times = self._times[:end]
        limit, tolerated = np.inf, self._canary.tolerated.get("latency")
        if tolerated is not None and not is_in.all():
            parts = len(self._canary.tolerated) * len(self._canary.steps)
            level = slow_limit_level(
                int((~is_in).sum()), alpha=self._canary.alpha / parts / 2.0, planned=self._canary.slates
            )
            limit = float(np.quantile(times[~is_in], level)) * (1.0 + tolerated)
        p99 = [float(np.quantile(times[side], 0.99)) if side.any() else 0.0 for side in (is_in, ~is_in)]
        return Counts(self._arm(end, True, limit), self._arm(end, False, limit), limit, (p99[0], p99[1]))

    def _arm(self, end: int, side: bool, limit: float) -> ArmCounts:
        chosen = np.flatnonzero(self._is_in[self._user[:end]] == side)
        user = self._user[chosen]
        n = np.bincount(user, minlength=self._users).astype(np.float64)
        what = (self._failed[chosen], self._times[chosen] > limit, self._clicked[chosen])
        errors, slow, clicks = (_sums(n, np.bincount(user, one, self._users).astype(np.float64)) for one in what)
        blocks = self._covered[side]
        seen = int(np.count_nonzero(self._is_in[self._user[self._first[self._first < end]]] == side))
        covered = blocks[: seen // BLOCK]
        return ArmCounts(errors, slow, clicks, _sums(np.ones(len(covered)), covered))


def _coverage(
    side: bool, effect: Effect, first: NDArray[np.int64], is_in: NDArray[np.bool_], rng: np.random.Generator, t: Traffic
) -> Floats:
    """Return the different items by slot of each block of users' first slates."""
    items = max(int(t.items * (effect.items if side else 1.0)), t.slots)
    shares = 1.0 / np.arange(1, items + 1)
    blocks = int(np.count_nonzero(is_in[first] == side)) // BLOCK
    drawn = rng.choice(items, (blocks, BLOCK * t.slots), p=shares / shares.sum())
    drawn.sort(axis=1)
    return np.asarray((1 + np.count_nonzero(np.diff(drawn, axis=1), axis=1)) / (BLOCK * t.slots))


def _sums(n: Floats, y: Floats) -> Sums:
    return Sums(int(np.count_nonzero(n)), float(n.sum()), float(y.sum()), float(n @ n), float(n @ y), float(y @ y))
