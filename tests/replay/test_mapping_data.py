"""Every mapping on its real data set, counted independently with pyarrow; skipped where the data is not there."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from online.adapters.chdb_files import ChdbFiles
from replay.mapping import find_mapping
from replay.recorded import BadRows, read_events, read_items
from schemas.event import EventIn
from schemas.item import ItemIn

READER = ChdbFiles()
ROOT = os.environ.get("HEADRACE_TEST_DATA")
pytestmark = pytest.mark.skipif(not ROOT, reason="HEADRACE_TEST_DATA names no folder of data sets")


def data(name: str) -> Path:
    return Path(ROOT or "") / name


def only(event_type: str) -> Callable[[pa.Table], dict[str, int]]:
    return lambda table: {event_type: table.num_rows}


def trivago(table: pa.Table) -> dict[str, int]:
    kinds = Counter(zip(table["action_type"].to_pylist(), table["reference"].to_pylist(), strict=True))
    count = Counter[str]()
    for (action, reference), n in kinds.items():
        if action == "clickout item":
            count.update(impression=n, click=n)
        elif action.startswith("interaction item") or action == "search for item":
            count["custom" if reference == "unknown" else "view"] += n
        else:
            count["search" if action.startswith("search for") else "custom"] += n
    return dict(count)


def retail(table: pa.Table) -> dict[str, int]:
    product = pc.match_substring_regex(table["StockCode"], "[0-9]{4}")
    cancels = pc.starts_with(table["InvoiceNo"], "C")
    sells = pc.and_(pc.invert(cancels), pc.greater(table["Quantity"], 0))
    return {
        "purchase": pc.sum(pc.and_(product, sells)).as_py(),
        "remove_from_cart": pc.sum(pc.and_(product, cancels)).as_py(),
    }


def journey(table: pa.Table) -> dict[str, int]:
    return {"purchase": pc.sum(pc.greater(table["quantity"], 0)).as_py()}


FILES = [
    ("yoochoose-1_64/test.parquet", "yoochoose", 71_222, only("click")),
    ("rsc15-100k/test.parquet", "rsc15", 13_568, only("click")),
    ("serenade-example/test.parquet", "rsc15", 1_233, only("click")),
    ("trivago/events_2018-11-07.parquet", "trivago", 50_732, trivago),
    ("ml-latest-small/ratings.csv", "movielens", 100_004, only("rating")),
    ("online-retail/online_retail_II_2009-12_2010-12.parquet", "online_retail", 525_461, retail),
    ("completejourney/transactions_sample.parquet", "completejourney", 75_000, journey),
]


@pytest.mark.parametrize(("name", "mapping", "n_rows", "expected"), FILES, ids=[f[0] for f in FILES])
def test_every_row_becomes_its_events_in_time_order(
    name: str, mapping: str, n_rows: int, expected: Callable[[pa.Table], dict[str, int]]
) -> None:
    file = data(name)
    table = pcsv.read_csv(file) if file.suffix == ".csv" else pq.read_table(file)
    assert table.num_rows == n_rows
    found = find_mapping(file, READER)
    assert found.name == mapping

    siblings = {key: file.parent / sibling for key, sibling in found.events.siblings.items()}
    ids: set[str] = set()
    types = Counter[str]()
    last = 0.0
    for number, row in enumerate(READER.rows(found.events.sql, {"file": file, **siblings})):
        ids.add(row["event_id"])
        types[row["event_type"]] += 1
        assert row["timestamp"] >= last
        last = row["timestamp"]
        if number % 97 == 0:  # validating each of 0.7 million rows would take long
            row.pop("_row")
            EventIn.model_validate({key: value for key, value in row.items() if value is not None})

    assert dict(types) == expected(table)
    assert len(ids) == sum(types.values())


def test_trivago_lists_are_shown_and_clicked_as_its_readers_report() -> None:
    file, bad = data("trivago/events_2018-11-07.parquet"), BadRows()
    sessions = f"SELECT uniqExact(session_id) AS n FROM ({find_mapping(file, READER).events.sql})"
    assert list(READER.rows(sessions, {"file": file})) == [{"n": 3_828}]

    recorded = list(read_events(file, reader=READER, on_bad=bad, start_at=1_700_000_000.0, limit=10_000))

    types = Counter(r.event.event_type for r in recorded)
    shown = [len(r.event.items) for r in recorded if r.event.event_type == "impression"]
    assert bad.count == 0
    assert abs(types["click"] - types["impression"]) <= 1 < types["click"]
    assert 22 < sum(shown) / len(shown) < 24
    assert recorded[0].event.timestamp == 1_700_000_000.0
    clicked = [r.event.items[0] for r in recorded if r.event.event_type == "click"]
    assert all(item.position is not None and item.price is not None for item in clicked)


def test_replaying_a_file_twice_gives_the_same_events_as_once() -> None:
    file = data("serenade-example/test.parquet")
    bad, mapping = BadRows(), find_mapping(file, READER)

    first, second = (list(read_events(file, reader=READER, on_bad=bad, mapping=mapping)) for _ in range(2))

    assert first == second


def test_the_tuning_split_of_rsc15_shares_its_ids_with_the_whole() -> None:
    mapping = find_mapping(data("rsc15-100k/train_tr.parquet"), READER)

    whole, part = (
        {row["event_id"] for row in READER.rows(mapping.events.sql, {"file": data(f"rsc15-100k/{name}.parquet")})}
        for name in ("train_full", "train_tr")
    )

    assert len(part) == 53_254
    assert part <= whole


@pytest.mark.parametrize(
    ("name", "count", "with_price"),
    [
        ("ml-latest-small/ratings.csv", 9_125, False),
        ("online-retail/online_retail_II_2009-12_2010-12.parquet", 4_460, True),
    ],
)
def test_the_catalogue_is_read_next_to_the_events(name: str, count: int, with_price: bool) -> None:
    bad = BadRows()

    items = list(read_items(data(name), reader=READER, on_bad=bad))

    assert bad.first == []
    assert len(items) == count
    assert all("title" in item.attributes for item in items if item.price is not None)
    assert any(item.price is not None for item in items) == with_price


def test_the_products_of_complete_journey_have_department_and_brand() -> None:
    file = data("completejourney/transactions_sample.parquet")
    select = find_mapping(file, READER).items
    assert select is not None

    files = {"file": file, **{name: file.parent / sibling for name, sibling in select.siblings.items()}}
    items = [{k: v for k, v in row.items() if k != "_row" and v is not None} for row in READER.rows(select.sql, files)]

    assert len(items) == 92_331
    assert all(item["categories"] and item["brand"] for item in items)
    assert Counter(item["tags"][0] for item in items) == {"national": 78_516, "private": 13_815}
    for item in items[::97]:
        ItemIn.model_validate(item)
