from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from example_canary import own_database
from example_slate import example_slate

from online.core.rows import blocks
from online.core.shadow import SHADOWS, Shadow, compared
from online.ports import Batch, Message, Warehouse
from online.shadow_report import shadow_report
from schemas.shadow import encode_shadow

T0 = 1_700_000_000.0
USERS = 120


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    with own_database(warehouse_url) as own:
        yield own


def shadow(number: int, items: list[str], *, at: float = T0, model: str = "") -> bytes:
    said = {"user_key": f"u{number % USERS}", "time": at, "candidates": ["a", "b", "c", "d"], "n": 2}
    served = example_slate(recommendation_id=f"r{number}", slots=[0, 1], policy_id="calm", **said)
    slots = ["abcd".index(item) for item in items]
    shadow_id = f"r{number}~{model or 'bold'}"
    policy = "calm" if model else "bold"
    drawn = example_slate(
        recommendation_id=shadow_id, slots=slots, policy_id=policy, stages_us={"score": 20.0, "slots": 10.0}, **said
    )
    return encode_shadow(compared(served, drawn, Shadow("" if model else "bold", model, 0.25)))


def record(warehouse: Warehouse, payloads: list[bytes]) -> None:
    batch = Batch(SHADOWS, 0, [Message(f"{n:08d}", payload) for n, payload in enumerate(payloads)])
    for block in blocks(batch):
        warehouse.insert(block.table.name, block.table.columns, block.rows, token=uuid4().hex)


def test_the_report_says_how_alike_shadows_are_and_what_they_cost(warehouse: Warehouse) -> None:
    alike = [shadow(n, ["a", "b"] if n % 2 else ["b", "c"]) for n in range(2 * USERS)]
    record(warehouse, [*alike, alike[0], shadow(900, ["c", "d"], model="newton-1")])
    record(warehouse, [shadow(901, ["c", "d"], at=T0 - 9000.0)])

    bold, model = shadow_report(warehouse, "home", since=T0 - 10.0)

    assert (bold["policy_id"], bold["model"], bold["served_policy_id"], bold["share"]) == ("bold", None, "calm", 0.25)
    assert (bold["slates"], bold["users"]) == (2 * USERS, USERS)
    assert bold["overlap"]["mean"] == 0.75
    low, high = bold["overlap"]["interval"]
    assert low < 0.75 < high
    assert bold["rank_shift"]["mean"] == 0.5
    assert (bold["stages_us"], bold["total_us"]["p50"]) == ({"score": 20.0, "slots": 10.0}, 30.0)
    assert (model["model"], model["overlap"], model["rank_shift"]) == (
        "newton-1",
        {"mean": 0.0, "interval": None},
        None,
    )
    assert shadow_report(warehouse, "cart", since=0.0) == []
