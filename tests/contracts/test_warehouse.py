"""The contract of the warehouse, on the embedded server and, with HEADRACE_TEST_WAREHOUSE, on a real one."""

from __future__ import annotations

import datetime as dt
import os
import threading
import uuid
from collections.abc import Iterator

import pytest

from headrace.supervisor import free_port
from online.connect import open_warehouse
from online.ports import Unavailable, Warehouse, WarehouseError

REAL = os.environ.get("HEADRACE_TEST_WAREHOUSE", "")


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("real", marks=pytest.mark.skipif(not REAL, reason="HEADRACE_TEST_WAREHOUSE names no server")),
    ]
)
def warehouse(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    url = REAL if request.param == "real" else request.getfixturevalue("warehouse_url")
    warehouse = open_warehouse(url)
    yield warehouse
    warehouse.close()


@pytest.fixture
def table(warehouse: Warehouse) -> Iterator[str]:
    name = f"contract_{uuid.uuid4().hex[:8]}"
    warehouse.execute(
        f"CREATE TABLE {name} (id UInt64, at DateTime64(3, 'UTC'), name String, payload String, "
        "weights Array(Float32), counts Map(String, UInt32), note Nullable(String)) ENGINE = MergeTree ORDER BY id "
        "SETTINGS non_replicated_deduplication_window = 1000"
    )
    yield name
    warehouse.execute(f"DROP TABLE {name}")


def row(number: int) -> tuple[object, ...]:
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=number)
    return (number, at, f"é{number}", b"\x00\x01\xff" if number % 2 else b"{}", [0.5, 1.5], {"a": number}, None)


COLUMNS = ("id", "at", "name", "payload", "weights", "counts", "note")


def test_inserted_rows_are_read_back_with_aware_times(warehouse: Warehouse, table: str) -> None:
    warehouse.insert(table, COLUMNS, [row(0), row(2)], token="a")
    read = warehouse.query(f"SELECT id, at, name, weights, counts, note FROM {table} ORDER BY id")

    assert [(*r[:3], list(r[3]), r[4], r[5]) for r in read] == [(*row(n)[:3], *row(n)[4:]) for n in (0, 2)]
    assert warehouse.query(f"SELECT DISTINCT payload FROM {table}") == [("{}",)]


def test_bytes_are_kept_as_they_are(warehouse: Warehouse, table: str) -> None:
    warehouse.insert(table, COLUMNS, [row(1)], token="a")

    assert warehouse.query(f"SELECT hex(payload) FROM {table}") == [("0001FF",)]


def test_the_same_insert_again_changes_nothing(warehouse: Warehouse, table: str) -> None:
    for token in ("a", "a", "b"):
        warehouse.insert(table, COLUMNS, [row(1), row(2)], token=token)

    assert warehouse.query(f"SELECT count() FROM {table}") == [(4,)]


def test_the_rows_of_one_insert_become_one_block(warehouse: Warehouse, table: str) -> None:
    warehouse.insert(table, COLUMNS, [row(number) for number in range(5000)], token="a")

    assert warehouse.query(f"SELECT count(), uniqExact(_part) FROM {table}") == [(5000, 1)]


def test_columns_left_out_get_their_defaults(warehouse: Warehouse, table: str) -> None:
    warehouse.insert(table, ("id", "name"), [(1, "x")], token="a")

    assert warehouse.query(f"SELECT name, payload, counts FROM {table}") == [("x", "", {})]


def test_an_insert_of_nothing_is_nothing(warehouse: Warehouse, table: str) -> None:
    warehouse.insert(table, COLUMNS, [], token="a")

    assert warehouse.query(f"SELECT count() FROM {table}") == [(0,)]


def test_parameters_are_bound(warehouse: Warehouse) -> None:
    text = "it's 100 % \\ {x:String}\n"
    rows = warehouse.query(
        "SELECT {s:String}, {n:UInt32} % 4, {many:Array(String)}", {"s": text, "n": 7, "many": ["a'", "b"]}
    )

    assert [(s, n, list(many)) for s, n, many in rows] == [(text, 3, ["a'", "b"])]


def test_a_query_without_rows_returns_none(warehouse: Warehouse, table: str) -> None:
    assert warehouse.query(f"SELECT * FROM {table}") == []


def test_two_threads_may_use_it_at_the_same_time(warehouse: Warehouse, table: str) -> None:
    def work(worker: int) -> None:
        for number in range(5):
            warehouse.insert(table, COLUMNS, [row(worker * 5 + number)], token=f"{worker}-{number}")
            warehouse.query(f"SELECT count() FROM {table}")

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert warehouse.query(f"SELECT count(), uniqExact(id) FROM {table}") == [(20, 20)]


def test_what_it_refuses_is_a_warehouse_error_with_clickhouse_s_code(warehouse: Warehouse, table: str) -> None:
    with pytest.raises(WarehouseError) as unknown:
        warehouse.query(f"SELECT * FROM {table}_none")
    with pytest.raises(WarehouseError):
        warehouse.execute("CREATE NOTHING")
    assert unknown.value.code == 60


@pytest.mark.parametrize("value", ["no number", -1, None, 2**64])
def test_rows_that_do_not_fit_are_a_warehouse_error_and_write_nothing(
    warehouse: Warehouse, table: str, value: object
) -> None:
    with pytest.raises(WarehouseError):
        warehouse.insert(table, ("id", "name"), [(1, "x"), (value, "y")], token="a")

    assert warehouse.query(f"SELECT count() FROM {table}") == [(0,)]


def test_a_warehouse_that_is_away_is_unavailable_at_the_call_not_at_opening() -> None:
    warehouse = open_warehouse(f"http://default:key@127.0.0.1:{free_port()}/default")

    with pytest.raises(Unavailable):
        warehouse.query("SELECT 1")
    with pytest.raises(Unavailable):
        warehouse.insert("t", ("a",), [(1,)], token="a")
    with pytest.raises(Unavailable):
        warehouse.execute("SELECT 1")
    warehouse.close()
