"""`headrace verify fuzz`: requests of every kind that the OpenAPI document allows or forbids, made by Schemathesis.

Half of them fit the document, half break it somewhere. Whatever comes, an answer is no defect of the server, and a
refusal is a small problem document.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok

MAX_PROBLEM = 4096
EXAMPLES = 25  # of an operation in a row, before the next one has its turn
TIMEOUT_S = 30.0
REST_S = 1.0  # after an answer of 503
SHOWN = 20


@dataclass
class Outcome:
    """What came of it.

    `unsent` are requests that no client can put into HTTP; they count for nothing. `again` were answered with 503, as
    a busy machine's store misses a deadline of milliseconds, and sent once more: what then is 503 is a defect.
    """

    requests: int = 0
    operations: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    unsent: int = 0
    again: int = 0
    defects: int = 0  # 5xx, or no answer
    bad_problems: int = 0  # refusals that are no problem document, or a large one
    largest_problem: int = 0
    examples: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0
    seed: int = 0
    took_s: float = 0.0

    @property
    def is_correct(self) -> bool:
        """Say whether every answer was as promised."""
        return self.requests > 0 and self.defects + self.bad_problems == 0


def fuzz(
    url: str, *, requests: int, seed: int, api_key: str = "", progress: Callable[[int], None] = lambda done: None
) -> Outcome:
    """Send requests to the API at a URL, the operations in turns, until there were so many."""
    began, outcome, statuses = time.monotonic(), Outcome(seed=seed), Counter[str]()
    headers = {"X-API-Key": api_key} if api_key else {}
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=headers)
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    outcome.operations = len(operations)
    with _Session() as session:
        sender = _Sender(url, headers, session, outcome, statuses)
        turn = 0
        while outcome.requests < requests:
            for operation in operations:
                for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                    most = min(EXAMPLES, requests - outcome.requests)
                    if most > 0:
                        _run(operation.as_strategy(mode), sender.send, most, seed + turn)
                        progress(outcome.requests)
            turn += 1
    outcome.by_status = dict(sorted(statuses.items()))
    outcome.took_s = round(time.monotonic() - began, 1)
    return outcome


class _Session(requests.Session):
    """A client that heeds no proxy of the environment."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False


@dataclass
class _Sender:
    """Sends cases and looks at the answers."""

    url: str
    headers: dict[str, str]
    session: requests.Session
    outcome: Outcome
    statuses: Counter[str]

    def send(self, case: Any) -> None:
        """Send one case."""
        what, began = f"{case.method} {case.path}", time.monotonic()
        try:
            answer = case.call(self.url, self.session, self.headers, timeout=TIMEOUT_S)
            if answer.status_code == 503:
                self.outcome.again += 1
                time.sleep(REST_S)
                answer = case.call(self.url, self.session, self.headers, timeout=TIMEOUT_S)
        except (requests.ConnectionError, requests.Timeout) as error:
            self.outcome.requests += 1
            self._tell("defects", f"{what}: no answer ({type(error).__name__})")
        except (requests.RequestException, ValueError):
            self.outcome.unsent += 1
        else:
            self.outcome.requests += 1
            self.outcome.slowest_ms = max(self.outcome.slowest_ms, round((time.monotonic() - began) * 1000, 1))
            self._look_at(answer, what)

    def _look_at(self, answer: Any, what: str) -> None:
        status, size = answer.status_code, len(answer.content)
        self.statuses[str(status)] += 1
        if status < 400:
            return
        kind = ",".join(answer.headers.get("content-type", ()))
        sent = f"{what} {answer.request.url!r} {answer.request.body!r}"[:600]
        self.outcome.largest_problem = max(self.outcome.largest_problem, size)
        if status >= 500:
            self._tell("defects", f"{status}: {sent}")
        elif kind != "application/problem+json" or size > MAX_PROBLEM:
            self._tell("bad_problems", f"{status} {kind} {size} bytes: {sent}")

    def _tell(self, kind: str, example: str) -> None:
        setattr(self.outcome, kind, getattr(self.outcome, kind) + 1)
        if len(self.outcome.examples) < SHOWN:
            self.outcome.examples.append(example)


def _run(cases: Any, send: Callable[[Any], None], most: int, seed: int) -> None:
    """Let Hypothesis make cases and send them."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @hypothesis.given(case=cases)
    def run(case: Any) -> None:
        send(case)

    with suppress(Unsatisfiable):  # an operation that takes nothing cannot be broken
        run()
