"""`headrace verify canary`: canaries on a running system, and very many by the same rule on made-up traffic.

On the system users come, click what is good among the first slots, and the steward decides from what the warehouse
has. A candidate that shows anything at random, one that leaves slots empty and one that is like the baseline each
become the canary of a surface. On made-up traffic harmless candidates tell how often one is stopped all the same.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from statistics import median
from threading import Event, Thread
from typing import Any, NamedTuple

import numpy as np

from headrace.bench.rig import rig, until_served, wait_until
from headrace.system import api_url
from online.control.canary import CanaryIn, GuardrailsIn
from online.core.canary import Canary
from replay.canary_trial import Effect, Traffic, trial
from replay.http_system import HttpSystem

SURFACE, BASELINE = "home", "popularity-1"
ITEMS, GOOD, SLOTS, SEEN = 60, 20, 10, 3  # the good ones are known as popular; users look at the first slots
CLICKS = {True: 0.35, False: 0.02}  # how often a good item that is seen is clicked, and another
USERS, CLIENTS, WORKERS, SLATES = 5000, 2, 2, 300
AFTER_S = 1.5  # of traffic behind a canary's end
TRAFFIC = Traffic()


class Candidate(NamedTuple):
    """A candidate: its policy, by which steps it is to go, and how it is to end (by which guardrail, if by one)."""

    name: str
    policy: dict[str, Any]
    steps: list[float]
    end: str
    guardrail: str = ""


_PLAIN = {"retrievers": ["popular"], "ranker": "popularity", "tau": 0.02, "epsilon": 0.02, "diversity": 0.0}
CANDIDATES = (
    Candidate("random", {**_PLAIN, "epsilon": 1.0}, [0.2, 0.5, 1.0], "stopped", "click_rate"),
    Candidate("short", {**_PLAIN, "category_cap": 1}, [0.2, 0.5, 1.0], "stopped", "errors"),
    Candidate("alike", _PLAIN, [0.2, 0.5, 1.0], "passed"),
)


@dataclass
class Run:
    """One canary on the system: how it ended, why, after how many slates, and how long its end took to show.

    `shown_after_ms` is how long after the change that ended it the last request was sent that the candidate answered;
    None when none was.
    """

    candidate: str
    state: str = ""
    why: str = ""
    step: int = 0
    slates: int = 0
    candidate_slates: int = 0
    shown_after_ms: float | None = None
    answers_by_policy_after: dict[str, int] = field(default_factory=dict)
    took_s: float = 0.0


@dataclass
class Outcome:
    """What came of it. `false_stops` are canaries like the baseline that were stopped; `caught` says of worse ones how
    many were, and after how many slates of theirs (median)."""

    runs: list[Run] = field(default_factory=list)
    rolled_back_to: str = ""
    harmless: int = 0
    false_stops: int = 0
    alpha: float = 0.05
    caught: dict[str, dict[str, Any]] = field(default_factory=dict)
    took_s: float = 0.0

    @property
    def is_correct(self) -> bool:
        """Say whether every canary ended as it should, at every worker at once, and few harmless ones were stopped."""
        ends = {candidate.name: candidate for candidate in CANDIDATES}
        as_they_should = all(
            run.state == ends[run.candidate].end
            and run.why.startswith(ends[run.candidate].guardrail)
            and len(run.answers_by_policy_after) == 1
            for run in self.runs
        )
        is_back = not self.runs or self.rolled_back_to == BASELINE
        return as_they_should and is_back and self.false_stops <= self.alpha * self.harmless


def verify_canary(*, harmless: int, live: bool = True, progress: Callable[[str], None] = lambda what: None) -> Outcome:
    """Run the canaries.

    Args:
        harmless: how many candidates like the baseline are tried on made-up traffic.
        live: try the three candidates on a running system as well.
        progress: told what is tried.

    Raises:
        Unavailable: the system does not come up, or a canary does not end.
    """
    began, outcome = time.monotonic(), Outcome(harmless=harmless)
    if live:
        _run_live(outcome, progress)
    progress("harmless canaries on made-up traffic")
    outcome.false_stops = sum(_made_up(Effect(), seed).end == "stop" for seed in range(harmless))
    worse = {
        "half the clicks": Effect(clicks=0.5),
        "three times as slow": Effect(time=3.0),
        "5 % more errors": Effect(errors=0.05),
        "a tenth of the items": Effect(items=0.1),
    }
    for name, effect in worse.items():
        ends = [_made_up(effect, seed) for seed in range(max(harmless // 20, 5))]
        caught = [end for end in ends if end.end == "stop"]
        outcome.caught[name] = {
            "stopped": len(caught),
            "of": len(ends),
            "by": sorted({end.guardrail for end in caught}),
            "slates": median(end.slates for end in caught) if caught else None,
        }
    outcome.took_s = round(time.monotonic() - began, 1)
    return outcome


def _made_up(effect: Effect, seed: int) -> Any:
    """Return the end of a canary with everything as it is by default."""
    asked = CanaryIn(policy="candidate")
    tolerated = {name: loss for name, loss in GuardrailsIn().model_dump().items() if loss is not None}
    canary = Canary(
        SURFACE,
        "candidate",
        "baseline",
        steps=tuple(asked.steps),
        minutes=asked.minutes,
        slates=asked.slates,
        tolerated=tolerated if effect != Effect() else dict.fromkeys(tolerated, 0.0),
        alpha=asked.alpha,
        salt=f"{seed}",
    )
    return trial(canary, effect, np.random.default_rng(seed), traffic=TRAFFIC)


def _run_live(outcome: Outcome, progress: Callable[[str], None]) -> None:
    with rig(flows=("state", "record", "canary"), api=True, api_workers=WORKERS, warehouse=True) as whole:
        url = api_url(whole.settings)
        with closing(HttpSystem(url)) as operator:
            rows = [{"item_id": f"item-{n}", "categories": ["all"]} for n in range(ITEMS)]
            operator.call("POST", "/v1/items:batch", {"items": rows})
            until_served(whole, ITEMS)
            operator.call("POST", "/v1/events", {"events": list(_past())})
            operator.call("POST", f"/v1/surfaces/{SURFACE}:activate", {"policy": BASELINE})
            for candidate in CANDIDATES:
                progress(f"canary {candidate.name}")
                outcome.runs.append(_run(operator, url, candidate))
            operator.call("POST", f"/v1/surfaces/{SURFACE}:rollback")
            outcome.rolled_back_to = operator.call("GET", f"/v1/surfaces/{SURFACE}")[1]["document"]["policy"]


def _past() -> list[dict[str, Any]]:
    """Return what has made the good items popular."""
    return [
        {"event_type": "click", "user_id": f"past-{i}-{n}", "item_id": f"item-{i}"}
        for i in range(ITEMS)
        for n in range(20 if i < GOOD else 1)
    ]


class _Answer(NamedTuple):
    sent: float  # epoch seconds, as the log's
    policy: str


class _Shopper(Thread):
    """Asks for slates of many users, one after the other, and clicks."""

    def __init__(self, url: str, seed: int, ended: Event) -> None:
        super().__init__(name="shopper", daemon=True)
        self._system, self._random, self._ended = HttpSystem(url), random.Random(seed), ended
        self.answers: list[_Answer] = []

    def run(self) -> None:
        with closing(self._system):
            clicks: list[dict[str, Any]] = []
            while not self._ended.is_set():
                user = f"user-{self._random.randrange(USERS)}"
                sent = time.time()
                _, slate = self._system.call("POST", "/v1/recommendations", {"user_id": user, "n": SLOTS})
                self.answers.append(_Answer(sent, slate["policy_id"]))
                clicks += self._clicks(user, slate)
                if len(clicks) >= 10:
                    self._system.call("POST", "/v1/events", {"events": clicks})
                    clicks = []

    def _clicks(self, user: str, slate: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "event_type": "click",
                "user_id": user,
                "item_id": item["item_id"],
                "recommendation_id": slate["recommendation_id"],
            }
            for item in slate["items"][:SEEN]
            if self._random.random() < CLICKS[int(item["item_id"].removeprefix("item-")) < GOOD]
        ]


def _run(operator: HttpSystem, url: str, candidate: Candidate) -> Run:
    began, run, ended = time.monotonic(), Run(candidate.name), Event()
    operator.call("PUT", f"/v1/policies/{candidate.name}", candidate.policy)
    asked = {"policy": candidate.name, "steps": candidate.steps, "minutes": 0, "slates": SLATES}
    # Two policies take different times by chance of the machine: of that the made-up traffic tells.
    asked["guardrails"] = {"latency": None}
    operator.call("POST", f"/v1/canaries/{SURFACE}:start", asked)
    shoppers = [_Shopper(url, seed, ended) for seed in range(CLIENTS)]
    with ExitStack() as stack:
        for shopper in shoppers:
            shopper.start()
            stack.callback(shopper.join)
        stack.callback(ended.set)
        wait_until(lambda: not _is_live(operator), f"the canary {candidate.name} does not end", every_s=0.25)
        time.sleep(AFTER_S)
    _tell(run, operator.call("GET", f"/v1/canaries/{SURFACE}")[1], [a for s in shoppers for a in s.answers])
    run.took_s = round(time.monotonic() - began, 1)
    return run


def _is_live(operator: HttpSystem) -> bool:
    (canary,) = operator.call("GET", "/v1/canaries")[1]["canaries"]
    return canary["document"]["state"] in ("running", "paused")


def _tell(run: Run, found: dict[str, Any], answers: list[_Answer]) -> None:
    document, ended_at = found["document"], found["changes"][-1]["at"]
    run.state, run.why, run.step = document["state"], document["why"], document["step"]
    run.slates = len(answers)
    run.candidate_slates = sum(answer.policy == run.candidate for answer in answers)
    if run.state == "stopped":
        late = [answer.sent - ended_at for answer in answers if answer.policy == run.candidate]
        run.shown_after_ms = round(max(late) * 1000.0, 1) if late and max(late) > 0.0 else None
    for answer in answers:
        if answer.sent > ended_at + 1.0:  # what every worker is to apply within a second
            run.answers_by_policy_after[answer.policy] = run.answers_by_policy_after.get(answer.policy, 0) + 1
