from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from served_app import KEEP_ALIVE_S, served

from flows.state import catalogue_view, state_view
from flows.view import adopt_all
from online.adapters.exact_index import ExactIndex
from online.adapters.file_artifacts import FileArtifacts
from online.core.item_table import ItemTable
from online.core.partition import EVENTS
from online.dead_letters import DeadLetters
from online.ports import START, Unavailable
from online.vectors import read_vectors
from online.world import World
from replay.http_system import BATCH, HttpSystem, Rejected
from replay.system import System
from schemas.event import EventIn
from schemas.item import ItemIn
from schemas.slate import RecommendIn
from schemas.tenant import DEFAULT_TENANT
from serving.access import Access, House
from serving.app import create_app
from serving.edge import Edge
from serving.grant import Grant
from serving.worker import Ports, Worker

PARTITIONS = 2
KEY = "key"


Open = Callable[..., str]


@pytest.fixture
def opened(switched_log: Any, switched_state: Any, tmp_path: Path) -> Iterator[Open]:
    """Start an API over a log and a store in memory, with keys if given, and return its URL."""
    with ExitStack() as stack:

        def start(*digests: str) -> str:
            ports = Ports(
                open_log=lambda: switched_log,
                state=switched_state,
                artifacts=FileArtifacts(tmp_path / "artifacts"),
                dead_letters=DeadLetters(log=switched_log, state=switched_state),
                open_vectors=lambda artifact: read_vectors(artifact, lambda path: ExactIndex(*_nothing())),
                spool_directory=tmp_path,
                partitions=PARTITIONS,
                member="api-0",
                name="api",
            )
            worker = Worker(ports, World(ItemTable(PARTITIONS)))
            worker.start()
            app, grants = create_app(worker), {digest: Grant(digest) for digest in digests} or None
            edge = Edge([app], Access({DEFAULT_TENANT: House(app)}, lambda: grants))
            return stack.enter_context(served(edge))

        yield start


@pytest.fixture
def system(opened: Open) -> Iterator[HttpSystem]:
    system = HttpSystem(opened())
    yield system
    system.close()


def click(user: str, item: str) -> EventIn:
    return EventIn(event_type="click", user_id=user, item_id=item)


def test_items_and_events_are_kept_and_slates_answered(
    system: System, switched_log: Any, switched_state: Any, eventually: Callable[..., Any]
) -> None:
    system.put_items([ItemIn(item_id=f"item-{i}", brand="b", attributes={"title": f"Item {i}"}) for i in range(5)])
    system.post([click("ann", "item-1")])
    views = [
        state_view(state=switched_state, log=switched_log, partitions=PARTITIONS),
        catalogue_view(state=switched_state, log=switched_log),
    ]
    for view in adopt_all(views):
        for batch in switched_log.read(view.positions(), max_messages=100, wait_s=0.0):
            view.step(batch)()

    eventually(lambda: len(system.recommend(RecommendIn(user_id="ann", n=3)).item_ids) == 3)
    answer = system.recommend(RecommendIn(user_id="ann", n=3, return_properties=["title"]))
    assert answer.position
    assert answer.recommendation_id == answer.document["recommendation_id"]
    assert [item["properties"]["title"] for item in answer.document["items"]] == [
        item.replace("item-", "Item ") for item in answer.item_ids
    ]
    assert system.recommend(RecommendIn(user_id="stranger")).position is None


def test_more_than_fits_a_request_is_sent_in_several(system: System, switched_log: Any) -> None:
    system.post([click(str(i), "a") for i in range(BATCH + 1)])
    system.put_items([ItemIn(item_id=str(i)) for i in range(BATCH + 1)])

    assert sum(switched_log.behind(EVENTS, p, START) for p in range(PARTITIONS)) == BATCH + 1
    assert switched_log.behind("items", 0, START) == BATCH + 1


def test_nothing_to_send_is_not_sent(system: System, switched_log: Any) -> None:
    system.post([])
    system.put_items([])

    assert switched_log.behind("items", 0, START) == 0


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(system: System) -> None:
    system.post([click("ann", "a")])
    time.sleep(KEEP_ALIVE_S + 0.5)

    system.post([click("ann", "b")])


def test_what_the_api_refuses_is_told_in_its_own_words(system: System) -> None:
    with pytest.raises(Rejected, match="/v1/recommendations answered 422: policy is one of "):
        system.recommend(RecommendIn(user_id="ann", policy="psychic"))


def test_an_item_without_an_id_is_not_passed_over_in_silence(system: System) -> None:
    with pytest.raises(Rejected, match="1 items were not accepted: give item_id"):
        system.put_items([ItemIn(item_id="a"), ItemIn(brand="b")])


def test_after_a_refusal_the_connection_goes_on(system: System) -> None:
    with pytest.raises(Rejected):
        system.recommend(RecommendIn(user_id="ann", policy="psychic"))

    system.post([click("ann", "a")])


def test_a_missing_or_wrong_key_is_told_and_the_right_one_is_taken(opened: Open) -> None:
    url = opened(sha256(KEY.encode()).hexdigest())
    for key in ("", "wrong"):
        with (
            closing(HttpSystem(url, api_key=key)) as system,
            pytest.raises(Rejected, match="answered 401: send a valid key"),
        ):
            system.post([click("ann", "a")])

    with closing(HttpSystem(url, api_key=KEY)) as system:
        system.post([click("ann", "a")])


def test_nobody_at_the_address_is_told_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        system = HttpSystem(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Unavailable, match=r"does not answer .* is 'headrace up' running"):
            system.post([click("ann", "a")])


@pytest.mark.parametrize("url", ["", "here", "127.0.0.1:8700", "ftp://host", "http://", "http://host:x", "http://[::1"])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(Rejected, match="use http://host:port"):
        HttpSystem(url)


def test_another_server_at_the_address_is_told() -> None:
    other = FastAPI()

    @other.post("/shop/v1/events")
    def hello() -> HTMLResponse:
        return HTMLResponse("<h1>hello</h1>")

    with served(other) as url:
        system = HttpSystem(f"{url}/shop/")
        with pytest.raises(Rejected, match="is it the address of the API"):
            system.post([click("ann", "a")])
        with pytest.raises(Rejected, match="answered 404: Not Found"):
            system.recommend(RecommendIn(user_id="ann"))
        system.close()


def _nothing() -> Any:
    raise AssertionError("no vectors are published in these tests")


def test_other_calls_return_status_and_answer(system: HttpSystem) -> None:
    assert system.call("PUT", "/v1/policies/mine", {"tau": 0.5})[1]["version"] == 1
    status, answer = system.call("GET", "/v1/policies/mine")
    assert (status, answer["document"]["tau"]) == (200, 0.5)
    with pytest.raises(Rejected, match="session_knn"):
        system.call("PUT", "/v1/policies/mine", {"retrievers": ["nobody"]})
