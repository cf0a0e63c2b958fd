"""`headrace bench freshness`: how long after its acknowledgement a click shows in a slate."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import msgspec

from headrace.bench.load import Load, running
from headrace.bench.measure import headed, quantiles
from headrace.bench.rig import Rig, rig, until_served
from headrace.bench.stream import Stream, load_catalogue, load_events
from online.ports import Unavailable

PROBE_USERS = 50
PAUSE_S = 0.03  # on average between probes, so that they meet every phase of a batch
PATIENCE_S = 10.0
WARM_UP_S = 2.0  # of background before the first probe
FLOWS = ("state", "index", "learn")

METHOD = (
    "A probe posts one click over HTTP, waits for the 202, then asks for the user's slate again and again over the "
    "same keep-alive connection until state_as_of.position is another than before the click; the time from the "
    "acknowledgement to the arrival of that slate counts, its computation included. Probes are one after the other "
    f"with random pauses (exponential, {PAUSE_S * 1000:g} ms), over {PROBE_USERS} users of their own. API, flows and "
    "embedded Valkey (which is the log too, unless one was given) run as `headrace up` runs them, recorder and "
    "warehouse apart. Background: single events posted over HTTP to the same API worker, open loop (Poisson), from a "
    "process of its own; background_done_eps is what it achieved."
)


def freshness(
    *,
    background_eps: Sequence[int] = (0, 1000),
    probes: int = 300,
    users: int = 5000,
    items: int = 2000,
    history: int = 50_000,
    seed: int = 1,
    log: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure freshness at each rate of background events, on the embedded log or on the one at `log`."""
    stream = Stream(users=users, items=items, seed=seed)
    with rig(flows=FLOWS, api=True, log=log) as whole:
        progress(f"loading {items} items and {history} events")
        load_catalogue(whole.log, stream, time.time())
        whole.until_catalogued()
        until_served(whole, items)
        whole.until_folded(load_events(whole.log, stream, history, whole.partitions))
        runs = [_run(whole, stream, rate, probes, seed, progress) for rate in background_eps]
    document = {"runs": runs, "users": users, "items": items, "log": urlsplit(log).scheme or "embedded"}
    return headed(METHOD, probes * len(runs), document)


def _run(
    whole: Rig, stream: Stream, rate: int, probes: int, seed: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    progress(f"{probes} probes at {rate} events/s")
    began = time.perf_counter()
    with running(_background(whole, stream, rate)) as load:
        if load is not None:
            time.sleep(WARM_UP_S)
        probe = _Probe(whole.settings.host, whole.settings.port, stream.items, seed)
        taken = [probe.once(number) for number in range(probes)]
        probe.close()
        achieved = None if load is None else load.result(now=True)
    return {
        "background_eps": rate,
        "n": len(taken),
        **quantiles(taken, 50, 90, 99),
        "max_ms": round(max(taken), 2),
        "asked_per_probe": round(probe.asked / probes, 2),
        "background_done_eps": None if achieved is None else round(len(achieved.latencies_ms) / achieved.took_s),
        "took_s": round(time.perf_counter() - began, 1),
    }


def _background(whole: Rig, stream: Stream, rate: int) -> Load | None:
    if rate == 0:
        return None
    return Load(
        host=whole.settings.host,
        port=whole.settings.port,
        kind="events",
        seconds=3600.0,  # stopped before
        connections=32,
        rate=float(rate),
        users=stream.users,
        items=stream.items,
        seed=rate,
    )


class _Probe:
    """Posts clicks and looks for them in slates, over one connection."""

    def __init__(self, host: str, port: int, items: int, seed: int) -> None:
        self._http = HTTPConnection(host, port, timeout=PATIENCE_S)
        self._items, self._rng = items, random.Random(seed)
        self._run = uuid.uuid4().hex  # an id that came before would be a duplicate
        self.asked = 0

    def once(self, number: int) -> float:
        """Return the milliseconds from the acknowledgement of a click to the first slate that reflects it.

        Raises:
            Unavailable: none does within `PATIENCE_S`.
        """
        time.sleep(self._rng.expovariate(1.0 / PAUSE_S))
        user = f"probe-{number % PROBE_USERS}"
        before = self._position(user)
        self._click(user, number)
        acknowledged = time.perf_counter()
        while self._position(user) == before:
            if time.perf_counter() - acknowledged > PATIENCE_S:
                raise Unavailable(f"a click did not show in a slate within {PATIENCE_S:g} s")
            self.asked += 1
        self.asked += 1
        return (time.perf_counter() - acknowledged) * 1000.0

    def _position(self, user: str) -> str | None:
        slate = self._ask("GET", f"/v1/recommendations/{user}", None)
        position: str | None = slate["state_as_of"]["position"]
        return position

    def _click(self, user: str, number: int) -> None:
        event = {
            "event_id": f"{self._run}-{number}",
            "event_type": "click",
            "user_id": user,
            "item_id": f"item-{self._rng.randrange(self._items)}",
        }
        self._ask("POST", "/v1/events", msgspec.json.encode(event))

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        self._http.request(method, path, body, {"Content-Type": "application/json"})
        response = self._http.getresponse()
        payload = response.read()
        if response.status not in (200, 202):
            raise Unavailable(f"{method} {path} answers {response.status}: {payload[:200]!r}")
        document: dict[str, Any] = msgspec.json.decode(payload)
        return document

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
