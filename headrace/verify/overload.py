"""`headrace verify overload`: offer many times what the system sustains, and account for every acknowledged event.

The whole embedded system is calibrated by a short closed loop, then flooded by the clock while slates are asked for.
Afterwards every acknowledged event must be in the log, and counted once in its user's record.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from headrace.bench import load as bench_load
from headrace.bench.measure import quantiles, resident_mb
from headrace.bench.rig import Rig, rig, until_served
from headrace.bench.stream import Stream, load_catalogue
from headrace.supervisor import Supervisor
from headrace.system import FLOWS
from headrace.verify.account import event_losses, until_archived, until_folded
from headrace.verify.flood import Answers, Flood, event_ids, flood

USERS, ITEMS = 20_000, 2000
BATCH = 500  # events in a request
CALIBRATION_CONNECTIONS, CONNECTIONS = 4, 256
SLATES_PER_S = 20.0
WARM_UP_S = 0.5
SAMPLE_S = 0.5


@dataclass
class Outcome:
    """What came of a flood; `lost`, `doubled`, `refused_without_retry_after` and `errors` must be 0.

    `accepted` and `refused` count events. `catch_up_s` passes from the end of the burst until the state view has
    folded all of it, `archived_s` until it is in the warehouse as well. `rss_growth_mb` is of API and flows together.
    """

    sustainable_eps: float = 0.0
    factor: float = 0.0
    offered_eps: float = 0.0
    accepted: int = 0
    accepted_eps: float = 0.0
    refused: int = 0
    refused_without_retry_after: int = 0
    retry_after_s: list[int] = field(default_factory=list)
    unsent: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    errors: int = 0
    lost: int = 0
    doubled: int = 0
    burst_s: float = 0.0
    catch_up_s: float = 0.0
    archived_s: float = 0.0
    rss_growth_mb: float = 0.0
    rss_growth_by_process_mb: dict[str, float] = field(default_factory=dict)
    slates: int = 0
    slate_p50_ms: float | None = None
    slate_p99_ms: float | None = None
    slate_errors: int = 0
    restarts: int = 0
    seed: int = 0
    took_s: float = 0.0

    @property
    def is_correct(self) -> bool:
        """Say whether nothing was lost, doubled, or answered with an error."""
        wrong = self.lost + self.doubled + self.refused_without_retry_after + self.errors + self.slate_errors
        return wrong + self.restarts == 0


def verify_overload(
    *,
    seconds: float,
    factor: float,
    seed: int,
    calibration_s: float = 10.0,
    progress: Callable[[str], None] = lambda what: None,
) -> Outcome:
    """Flood the embedded system with `factor` times what it sustains for `seconds`; compare what came of it."""
    began = time.monotonic()
    outcome = Outcome(factor=factor, seed=seed)
    with rig(flows=FLOWS, api=True, warehouse=True) as whole:
        _prepare(whole, seed)
        progress(f"calibrating for {calibration_s:g} s")
        calibration = _plan(whole, "cal-", calibration_s, CALIBRATION_CONNECTIONS, None, seed)
        first = flood(calibration)
        sustained = len(first.accepted) * BATCH / (first.took_s + until_folded(whole))
        until_archived(whole)
        outcome.sustainable_eps = round(sustained, 1)
        progress(f"offering {factor * sustained:.0f} events/s for {seconds:g} s")
        burst = _plan(whole, "run-", seconds, CONNECTIONS, factor * sustained / BATCH, seed + 1)
        with _Memory(whole.supervisor) as memory:
            second = _burst(whole, outcome, burst)
            progress("catching up")
            outcome.catch_up_s = round(until_folded(whole), 1)
            outcome.archived_s = round(outcome.catch_up_s + until_archived(whole), 1)
        outcome.rss_growth_mb, outcome.rss_growth_by_process_mb = memory.growth_mb()
        outcome.restarts = sum(health.restarts for health in whole.supervisor.health().values())
        progress("comparing")
        acknowledged = (i for plan, got in ((calibration, first), (burst, second)) for i in _ids(plan, got))
        outcome.lost, outcome.doubled = event_losses(whole, set(acknowledged))
    outcome.took_s = round(time.monotonic() - began, 1)
    return outcome


def _prepare(whole: Rig, seed: int) -> None:
    load_catalogue(whole.log, Stream(users=USERS, items=ITEMS, seed=seed), time.time())
    whole.until_catalogued()
    until_served(whole, ITEMS)
    flood(_plan(whole, "warm", WARM_UP_S, 1, None, seed))
    until_folded(whole)
    until_archived(whole)


def _plan(whole: Rig, run: str, seconds: float, connections: int, rate: float | None, seed: int) -> Flood:
    return Flood(
        host=whole.settings.host,
        port=whole.settings.port,
        run=run,
        seconds=seconds,
        connections=connections,
        batch=BATCH,
        users=USERS,
        items=ITEMS,
        rate=rate,
        seed=seed,
    )


def _burst(whole: Rig, outcome: Outcome, plan: Flood) -> Answers:
    """Flood while slates are asked for, and note what was answered."""
    slates = bench_load.Load(
        host=plan.host,
        port=plan.port,
        kind="slates",
        seconds=plan.seconds,
        connections=16,
        rate=SLATES_PER_S,
        user_ids=[str(user) for user in range(0, USERS, 20)],
    )
    with bench_load.running(slates) as load:
        answers = flood(plan)
        assert load is not None
        asked = load.result()
    sent = sum(answers.statuses.values())
    refused = answers.statuses.get("429", 0) + answers.statuses.get("503", 0)
    outcome.burst_s = round(answers.took_s, 1)
    outcome.offered_eps = round(sent * BATCH / answers.took_s, 1)
    outcome.accepted, outcome.refused = len(answers.accepted) * BATCH, refused * BATCH
    outcome.accepted_eps = round(outcome.accepted / answers.took_s, 1)
    outcome.errors = sent - len(answers.accepted) - refused + answers.broken
    outcome.unsent, outcome.statuses = answers.unsent * BATCH, answers.statuses
    outcome.refused_without_retry_after = answers.refused_without_retry_after
    outcome.retry_after_s = answers.retry_after_s
    outcome.slates, outcome.slate_errors = asked.sent, asked.errors
    outcome.slate_p50_ms, outcome.slate_p99_ms = quantiles(asked.latencies_ms, 50, 99).values()
    return answers


def _ids(plan: Flood, answers: Answers) -> Iterator[str]:
    return (i for number in answers.accepted for i in event_ids(plan, number))


class _Memory:
    """Samples how much memory every service holds, while the block runs."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._samples = [self._sample()]

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self._samples.append(self._sample())

    def _sample(self) -> dict[str, float]:
        pids = {name: self._supervisor.pid(name) for name in self._supervisor.health()}
        return {name: resident_mb(pid) for name, pid in pids.items() if pid is not None}

    def growth_mb(self) -> tuple[float, dict[str, float]]:
        """Return by how much API and flows together grew at most since the start, and every service by itself."""
        first = self._samples[0]
        each = {name: round(max(s.get(name, 0.0) for s in self._samples) - first[name], 1) for name in first}
        keepers = [name for name in first if name.startswith(("api-", "flow-"))]
        together = [sum(sample.get(name, 0.0) for name in keepers) for sample in self._samples]
        return round(max(together) - together[0], 1), each
