"""Slates of a canary's arms, and the clicks that name some of them, as rows of a warehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from example_slate import example_slate

from flows.record import create_tables
from online.connect import open_warehouse
from online.core.join import SLATES
from online.core.partition import EVENTS
from online.core.rows import blocks
from online.ports import Batch, Message, Warehouse
from schemas.event import Event, EventItem, encode_event
from schemas.slate import encode_slate


@contextmanager
def own_database(warehouse_url: str) -> Iterator[Warehouse]:
    """Open a database of its own with all tables."""
    name = f"own_{uuid4().hex[:12]}"
    main = open_warehouse(warehouse_url)
    main.execute(f"CREATE DATABASE {name}")
    own = open_warehouse(urlunsplit(urlsplit(warehouse_url)._replace(path=f"/{name}")))
    create_tables(own)
    yield own
    own.close()
    main.execute(f"DROP DATABASE {name}")
    main.close()


def record(warehouse: Warehouse, topic: str, payloads: Iterable[bytes]) -> None:
    """Insert messages as the recorder does."""
    batch = Batch(topic, 0, [Message(f"{n:08d}-{uuid4().hex[:4]}", payload) for n, payload in enumerate(payloads)])
    for block in blocks(batch):
        warehouse.insert(block.table.name, block.table.columns, block.rows, token=uuid4().hex)


def record_arm(
    warehouse: Warehouse,
    arm: str,
    users: int,
    *,
    at: float,
    canary: str = "s",
    step: int = 0,
    is_clicked: Callable[[int], bool] = lambda n: n % 5 == 0,
    **said: Any,
) -> None:
    """Record two slates of each user of an arm, and a click on those of which it is said."""
    names = [f"{arm}-{step}-{at:.0f}-{n}" for n in range(2 * users)]
    slates = [
        example_slate(
            recommendation_id=name,
            user_key=f"u{arm}{n % users}",
            time=at + n / 1000.0,
            canary=canary,
            canary_arm=arm,
            canary_step=step,
            **{
                "candidates": [f"i{(n + k) % 40}" for k in range(4)],
                "slots": [0, 1],
                "n": 2,
                "stages_us": {"score": 1000.0 + n % 100},
                **said,
            },
        )
        for n, name in enumerate(names)
    ]
    record(warehouse, SLATES, map(encode_slate, slates))
    clicks = [
        Event(
            event_id=f"c{name}",
            event_type="click",
            timestamp=at + 1.0,
            received_at=at + 1.0,
            user_id="1",
            items=[EventItem("i0")],
            recommendation_id=name,
        )
        for n, name in enumerate(names)
        if is_clicked(n)
    ]
    record(warehouse, EVENTS, map(encode_event, clicks))
