"""A whole recommender in one process: the state flow's views in a thread, and a serving worker behind its HTTP app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import numpy as np
import pytest

import serving.follower
from flows.state import catalogue_view, control_view, letters_view, state_view
from flows.view import View, adopt_all
from online.adapters.exact_index import ExactIndex
from online.adapters.file_artifacts import FileArtifacts
from online.core.item_table import ItemTable
from online.core.join import SLATES
from online.dead_letters import DeadLetters
from online.ports import EventLog
from online.vectors import read_vectors
from online.world import World
from schemas.slate import Slate, decode_slate
from schemas.tenant import DEFAULT_TENANT
from serving.access import Access, House
from serving.app import create_app
from serving.edge import Edge
from serving.grant import Grant, Grants
from serving.worker import Ports, Worker

PARTITIONS = 2


class StateFlow:
    """The views of the state flow, kept by a thread that reads the log batch by batch."""

    def __init__(self, log: EventLog, state: Any) -> None:
        self._log = log
        self._views: list[View] = [
            state_view(state=state, log=log, partitions=PARTITIONS),
            catalogue_view(state=state, log=log),
            letters_view(state=state, log=log, partitions=PARTITIONS),
            control_view(state=state, log=log),
        ]
        self._closing = Event()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        after = {key: position for view in adopt_all(self._views) for key, position in view.positions().items()}
        while not self._closing.is_set():
            for batch in self._log.read(after, max_messages=1000, wait_s=0.02):
                for view in self._views:
                    if batch.topic in view.topics:
                        view.step(batch)()
                after[batch.topic, batch.partition] = batch.messages[-1].position

    def close(self) -> None:
        self._closing.set()
        self._thread.join()


class Client:
    """A client of an application whose event loop and lifespan run in a thread."""

    def __init__(self, edge: Edge) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._stack = AsyncExitStack()
        transport = httpx.ASGITransport(edge, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        self._run(self._stack.enter_async_context(edge.lifespan()))

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60.0)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        response: httpx.Response = self._run(self._client.request(method, path, **options))
        return response

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self.request("PUT", path, **options)

    def close(self) -> None:
        self._run(self._client.aclose())
        self._run(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class System:
    """What a test holds of the running recommender."""

    def __init__(
        self,
        log: Any,
        state: Any,
        directory: Path,
        grants: Grants,
        name: str,
        *,
        secret: bytes = b"",
        ports: Mapping[str, Any] | None = None,
        allowed_origins: tuple[str, ...] = (),
    ) -> None:
        self.log, self.state = log, state
        self.artifacts = FileArtifacts(directory / "artifacts")
        self.spools = directory / "spools"
        self.spools.mkdir(exist_ok=True)
        self.worker = Worker(
            Ports(
                open_log=lambda: log,
                state=state,
                artifacts=self.artifacts,
                dead_letters=DeadLetters(log=log, state=state),
                open_vectors=lambda artifact: read_vectors(artifact, view_exact),
                spool_directory=self.spools,
                partitions=PARTITIONS,
                name=name,
                member=name,
                **(ports or {}),
            ),
            World(ItemTable(PARTITIONS)),
        )
        self.worker.start()
        self.app = create_app(self.worker)
        house = House(self.app, user_token_key=secret)
        access = Access({DEFAULT_TENANT: house}, grants, allowed_origins=allowed_origins)
        self.edge = Edge([self.app], access, allowed_origins=allowed_origins)
        self.client = Client(self.edge)

    def put_items(self, *item_ids: str, **fields: Any) -> None:
        rows = [{"item_id": item_id, **fields} for item_id in item_ids]
        answer = self.client.post("/v1/items:batch", json={"items": rows})
        assert answer.json() == {"accepted": len(rows), "rejected": 0, "errors": []}

    def call(self, method: str, path: str, document: Any = None, status: int = 200) -> dict[str, Any]:
        answer = self.client.request(method, path, json=document)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def slate(self, **ask: Any) -> dict[str, Any]:
        patient = {"deadline_ms": 60_000} | ask  # compiling takes longer than a surface waits
        answer = self.client.post("/v1/recommendations", json=patient)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def payloads(self, topic: str) -> list[bytes]:
        """Return everything on a topic, partition by partition."""
        partitions = PARTITIONS if topic in ("events", "users", "slates") else 1
        after = {(topic, p): "" for p in range(partitions)}
        batches = self.log.port.read(after, max_messages=100_000, wait_s=0.0)
        return [message.payload for batch in batches for message in batch.messages]

    def logged_slates(self) -> dict[str, Slate]:
        slates = map(decode_slate, self.payloads(SLATES))
        return {slate.recommendation_id: slate for slate in slates}


def view_exact(path: Path) -> ExactIndex:
    matrix = np.load(path, allow_pickle=False)
    return ExactIndex(matrix, np.arange(len(matrix), dtype=np.int64))


@contextmanager
def starting(log: Any, state: Any, directory: Path) -> Iterator[Callable[..., System]]:
    flow = StateFlow(log.port, state.port)
    systems: list[System] = []

    def start(*grants: Grant, **edge: Any) -> System:
        known = {grant.digest: grant for grant in grants} or None
        systems.append(System(log, state, directory, lambda: known, f"api-{len(systems)}", **edge))
        return systems[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving.follower, "WAIT_S", 0.02)  # a test ends with the longest wait
        patch.setattr(serving.follower, "REFRESH_S", 0.02)
        try:
            yield start
        finally:
            log.is_off = state.is_off = False
            for system in systems:
                system.client.close()
            flow.close()


@pytest.fixture
def start_system(switched_log: Any, switched_state: Any, tmp_path: Path) -> Iterator[Callable[..., System]]:
    """Start the system of a test, with what API keys open, secret and origins; it may still be catching up.

    Started again, it is another worker over the same log.
    """
    with starting(switched_log, switched_state, tmp_path) as start:
        yield start


@pytest.fixture
def system(start_system: Callable[..., System], eventually: Callable[..., Any]) -> System:
    """A running system that asks for no key."""
    system = start_system()
    eventually(lambda: system.worker.is_ready)
    return system


@pytest.fixture(scope="session")
def serve_for(
    new_ports: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, eventually: Callable[..., Any]
) -> Callable[..., Any]:
    """Run a system that several tests share, each leaving it as it finds it."""

    @contextmanager
    def serve(*grants: Grant, **edge: Any) -> Iterator[System]:
        with starting(*new_ports(), tmp_path_factory.mktemp("shared")) as start:
            system = start(*grants, **edge)
            eventually(lambda: system.worker.is_ready, within_s=60.0)  # kernels may have to be compiled
            yield system

    return serve


@pytest.fixture(scope="session")
def shared_system(serve_for: Callable[..., Any]) -> Iterator[System]:
    """A running system for tests that leave it as they find it."""
    with serve_for() as system:
        yield system
