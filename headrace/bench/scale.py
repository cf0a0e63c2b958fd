"""`headrace bench scale`: the state flow in one and in two processes, and what the whole system burns while idle."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from flows.state import STATE_VIEW
from flows.view import committed
from headrace.bench.measure import group_cpu_s, headed, median, spread
from headrace.bench.rig import Rig, rig, running, wait_until
from headrace.bench.stream import Stream, load_events
from headrace.settings import Settings, own_settings
from headrace.supervisor import free_port
from headrace.system import FLOWS, environment
from online.connect import open_state
from online.core.partition import EVENTS
from online.core.update import UPDATES
from online.ports import StateStore

GROUP = "state"
GATE = "gate"
GATE_S = 300.0
SETTLE_S = 15.0  # after the start: imports, compiled kernels, first looks

METHOD = (
    "eps_1, eps_2: events per second at which one and two processes of the state flow (each `headrace flow state`) "
    "catch up with a log that was filled before, in turns (which goes first alternates), each time into an empty "
    "store; log and store are the embedded Valkey, every commit synced. Until all processes have started, a member of "
    "their group that does nothing holds all partitions; the time runs from when it leaves until the last event is "
    "committed. ratio_2_to_1 is the median over the repeats, spread is [least, greatest]. cpu_us: CPU of the flows per "
    "event, valkey_us of the one Valkey they share. idle_cpu_share: CPU time of all processes of the embedded system "
    "(API, four flows, Valkey, warehouse, supervisor) with nothing to do, in shares of one core; idle_by_service tells "
    "whose it is."
)


def scale(
    *,
    events: int = 200_000,
    partitions: int = 16,
    repeats: int = 3,
    idle_seconds: float = 30.0,
    users: int = 5000,
    items: int = 10_000,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure how the state flow scales with processes, and the idle system.

    Args:
        events: in the log to catch up with.
        partitions: of the log.
        repeats: of each number of processes.
        idle_seconds: over which idle CPU is measured.
        users: of the stream.
        items: of the stream.
        seed: of the stream.
        progress: told what is going on.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as directory, ExitStack() as stack:
        settings = own_settings(Path(directory) / "data", free_port()).model_copy(update={"partitions": partitions})
        own = stack.enter_context(running(settings))
        progress(f"log of {events} events in {own.partitions} partitions")
        load_events(own.log, Stream(users=users, items=items, seed=seed), events, own.partitions)
        figures = _catch_ups(own, events, repeats, progress)
    with rig(flows=FLOWS, api=True, warehouse=True) as whole:
        progress(f"idle for {idle_seconds:g} s")
        time.sleep(SETTLE_S)
        figures |= _idle(whole, idle_seconds)
    return headed(METHOD, events, {**figures, "partitions": partitions, "users": users, "items": items})


def _catch_ups(own: Rig, events: int, repeats: int, progress: Callable[[str], None]) -> dict[str, Any]:
    rates: dict[int, list[float]] = {1: [], 2: []}
    cpu: dict[int, list[float]] = {1: [], 2: []}
    store: list[float] = []
    for repeat in range(repeats):
        for processes in (1, 2) if repeat % 2 == 0 else (2, 1):
            progress(f"{processes} of the state flow, repeat {repeat + 1} of {repeats}")
            database = 1 + 2 * repeat + (processes - 1)
            took_s, cpu_s, store_s = _catch_up(own, f"{own.settings.state}?db={database}", processes)
            rates[processes].append(events / took_s)
            cpu[processes].append(cpu_s / events * 1e6)
            store.append(store_s / events * 1e6)
            own.log.trim(UPDATES, 0, own.log.extent(UPDATES, 0).last)
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    return {
        "eps_1": round(median(rates[1])),
        "eps_1_spread": spread(rates[1], 0),
        "eps_2": round(median(rates[2])),
        "eps_2_spread": spread(rates[2], 0),
        "ratio_2_to_1": median(ratios),
        "ratio_spread": spread(ratios),
        "cpu_us_1": median(cpu[1]),
        "cpu_us_2": median(cpu[2]),
        "valkey_us": median(store),
    }


def _catch_up(own: Rig, state_url: str, processes: int) -> tuple[float, float, float]:
    """Fold the whole log into an empty store; return the wall seconds, and the CPU seconds of flows and Valkey."""
    with closing(open_state(state_url)) as state:
        valkey = [pid] if (pid := own.supervisor.pid("valkey")) is not None else []
        state.lease(GROUP, GATE, range(own.partitions), GATE_S)
        settings = own.settings.model_copy(update={"state": state_url})
        with _flows(settings, processes) as groups:
            wait_until(lambda: len(state.roster(GROUP)) == processes + 1, "the flows do not start", every_s=0.05)
            time.sleep(1.0)
            before = [group_cpu_s(some) or 0.0 for some in (groups, valkey)]
            began = time.perf_counter()
            state.leave(GROUP, GATE)
            wait_until(lambda: _is_folded(own, state), "the flows do not catch up", every_s=0.05)
            took_s = time.perf_counter() - began
            cpu_s, store_s = (
                (group_cpu_s(some) or 0.0) - used for some, used in zip((groups, valkey), before, strict=True)
            )
            return took_s, cpu_s, store_s


@contextmanager
def _flows(settings: Settings, processes: int) -> Iterator[list[int]]:
    """Run processes of the state flow, each in a process group of its own; yield the groups."""
    env = {**os.environ, **environment(settings), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "headrace", "flow", GROUP]
    started = [subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, process_group=0) for _ in range(processes)]
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def _is_folded(own: Rig, state: StateStore) -> bool:
    return all(committed(state, STATE_VIEW, EVENTS, p) >= own.log.extent(EVENTS, p).last for p in range(own.partitions))


def _idle(whole: Rig, seconds: float) -> dict[str, Any]:
    before, own_before = _cpu_by_service(whole), time.process_time()
    time.sleep(seconds)
    after, own_after = _cpu_by_service(whole), time.process_time()
    shares = {name: round((after[name] - before[name]) / seconds, 4) for name in before}
    shares["supervisor"] = round((own_after - own_before) / seconds, 4)
    return {"idle_cpu_share": round(sum(shares.values()), 4), "idle_by_service": shares, "idle_seconds": seconds}


def _cpu_by_service(whole: Rig) -> dict[str, float]:
    health = whole.supervisor.health()
    return {name: group_cpu_s([one.pid]) or 0.0 for name, one in health.items() if one.pid is not None}
