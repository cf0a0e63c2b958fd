"""`headrace bench serve`: what a slate costs, and how long it takes at a given rate of requests."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from headrace.bench.load import Load, running, send
from headrace.bench.measure import group_cpu_s, headed, median, quantiles
from headrace.bench.rig import Rig, rig, until_served, wait_until
from headrace.bench.stream import Stream, append, load_catalogue, messages
from headrace.process import open_artifacts
from online.core.join import SLATES
from online.core.partition import EVENTS
from online.core.update import UPDATES
from online.ports import START
from online.world import VECTORS
from schemas.event import Event
from schemas.slate import Slate, decode_slate

RATES = (100, 200, 500, 1000)
CONNECTIONS = 64  # of the open loop: a request waits for none while fewer are under way
CLOSED_CONNECTIONS = 16
IN_SESSION_S = 1200.0  # the users who ask had an event within this time before the bench
API_WORKERS = 2
FLOWS = ("state", "index", "learn")
SAMPLE = 2000  # slates whose stages are read, of each run

METHOD = (
    "Catalogue and history are loaded through the log first and indexed, so that slates are personal: users in "
    f"session (an event within the last {IN_SESSION_S / 60:g} minutes) ask for 10 items each over HTTP. Open loop: "
    "arrivals are Poisson, over keep-alive connections from a process of its own; a latency counts from the intended "
    "moment of sending, so that waiting for a busy server or generator is included; errors are other statuses, and "
    "requests still unanswered 10 s after the last was due. cpu_us_per_request is the CPU "
    "time of both API processes during the run by the answered requests. saturation_rps: closed loop, "
    f"{CLOSED_CONNECTIONS} connections. stages_us: medians over the logged slates of the first run. API, flows and "
    "embedded Valkey run as `headrace up` runs them, recorder and warehouse apart, on the same cores as the generator."
)


def serve(
    *,
    rates: Sequence[int] = RATES,
    users: int = 5000,
    items: int = 10_000,
    history: int = 100_000,
    background_eps: int = 0,
    seconds: float = 10.0,
    seed: int = 1,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure slates at each rate (requests per second), then at saturation.

    Args:
        rates: of the open loops.
        users: of the stream.
        items: of the catalogue.
        history: events loaded before.
        background_eps: single events per second posted meanwhile.
        seconds: of each run.
        seed: of the stream and the arrivals.
        progress: told what is going on.
    """
    with rig(flows=FLOWS, api=True, api_workers=API_WORKERS) as whole:
        progress(f"loading {items} items and {history} events")
        asking = _load(whole, Stream(users=users, items=items, seed=seed), history)
        load = Load(
            host=whole.settings.host,
            port=whole.settings.port,
            kind="slates",
            seconds=seconds,
            connections=CONNECTIONS,
            user_ids=asking,
            seed=seed,
        )
        background = _background(load, background_eps, users, items)
        send(_changed(load, seconds=min(2.0, seconds), rate=50.0))  # warm-up
        with running(background):
            runs, samples = [], []
            for rate in rates:
                progress(f"{rate} slates/s for {seconds:g} s")
                run, slates = _measured(whole, _changed(load, rate=float(rate)))
                runs.append(run)
                samples.append(slates)
            progress(f"closed loop, {CLOSED_CONNECTIONS} connections")
            full, _ = _measured(whole, _changed(load, connections=CLOSED_CONNECTIONS))
    document = {
        "runs": runs,
        "saturation_rps": full["done_per_s"],
        "saturation_cpu_us_per_request": full["cpu_us_per_request"],
        "stages_us": _stages(samples[0]),
        "slates": _described(samples[0]),
        "background_eps": background_eps,
        "users": users,
        "items": items,
    }
    return headed(METHOD, sum(run["n"] for run in runs), document)


def _load(whole: Rig, stream: Stream, history: int) -> list[str]:
    """Load catalogue and history, wait until they are indexed as well; return who is in session."""
    asking = load_history(whole, stream, history)
    wait_until(lambda: _is_indexed(whole), "the index flow does not publish all vectors", every_s=0.25)
    time.sleep(2.0)  # the API looks for new versions twice a second, and refreshes its toplists each second
    return asking


def load_history(whole: Rig, stream: Stream, history: int) -> list[str]:
    """Load catalogue and history, the latest event now; wait until they are folded and the items served.

    Returns:
        Who is in session.

    Raises:
        Unavailable: they are not.
    """
    now = time.time()
    load_catalogue(whole.log, stream, now)
    whole.until_catalogued()
    events = list(stream.events(history))
    shift = now - events[-1].timestamp
    for event in events:
        event.timestamp += shift
        event.received_at = event.timestamp
    whole.until_folded(append(whole.log, EVENTS, messages(events, whole.partitions)))
    until_served(whole, stream.items)
    return _in_session(events, now)


def _in_session(events: Sequence[Event], now: float) -> list[str]:
    return sorted({str(event.user_id) for event in events if event.timestamp > now - IN_SESSION_S})


def _is_indexed(whole: Rig) -> bool:
    artifact = open_artifacts(whole.settings).open(VECTORS)
    positions = {} if artifact is None else artifact.lineage["positions"]
    return bool(positions.get(f"{UPDATES}/0", START) >= whole.log.extent(UPDATES, 0).last)


def _changed(load: Load, **fields: Any) -> Load:
    return msgspec.structs.replace(load, **fields)


def _background(load: Load, eps: int, users: int, items: int) -> Load | None:
    if eps == 0:
        return None
    return _changed(load, kind="events", rate=float(eps), seconds=3600.0, users=users, items=items)


def _measured(whole: Rig, load: Load) -> tuple[dict[str, Any], list[Slate]]:
    """Run one load; return its figures and a sample of the slates it left on the log."""
    before = {(SLATES, p): whole.log.extent(SLATES, p).last for p in range(whole.partitions)}
    cpu_before = group_cpu_s(whole.api_groups)
    outcome = send(load)
    cpu_after = group_cpu_s(whole.api_groups)
    done = len(outcome.latencies_ms)
    figures = {
        "rate": load.rate,
        "n": done,
        **quantiles(outcome.latencies_ms, 50, 90, 99),
        "errors": outcome.errors,
        "cpu_us_per_request": _per_request(cpu_before, cpu_after, done),
        "done_per_s": round(done / outcome.took_s, 1),
    }
    return figures, _logged(whole, before)


def _per_request(before: float | None, after: float | None, done: int) -> int | None:
    return None if before is None or after is None or done == 0 else round((after - before) / done * 1e6)


def _logged(whole: Rig, after: dict[tuple[str, int], str]) -> list[Slate]:
    """Return the first slates behind some positions, and trim all of them: they are large."""
    slates: list[Slate] = []
    while len(slates) < SAMPLE and (batches := whole.log.read(after, max_messages=100, wait_s=0.0)):
        for batch in batches:
            slates += [decode_slate(message.payload) for message in batch.messages]
            after[batch.topic, batch.partition] = batch.messages[-1].position
    for topic, partition in after:
        whole.log.trim(topic, partition, whole.log.extent(topic, partition).last)
    return slates


def _stages(slates: Sequence[Slate]) -> dict[str, float]:
    took: dict[str, list[float]] = defaultdict(list)
    for slate in slates:
        for stage, us in slate.stages_us.items():
            took[stage].append(us)
    return {stage: median(values, 1) for stage, values in took.items()}


def _described(slates: Sequence[Slate]) -> dict[str, Any]:
    """Say what the measured slates were: a cheap slate is easily fast."""
    if not slates:
        return {"n": 0}
    return {
        "n": len(slates),
        "personal": round(sum(slate.rung == "personal" for slate in slates) / len(slates), 3),
        "in_session": round(sum(bool(slate.session_items) for slate in slates) / len(slates), 3),
        "candidates": median([len(slate.candidates) for slate in slates], 0),
        "with_vectors": round(sum(slate.index_version > 0 for slate in slates) / len(slates), 3),
    }
