"""The client of ClickHouse's makers against the embedded warehouse."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError


@pytest.fixture
def client(warehouse_url: str) -> Iterator[Client]:
    client = clickhouse_connect.get_client(dsn=warehouse_url, dedicated_pool=True)
    yield client
    client.close()


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_clickhouse_connect_inserts_and_reads_in_every_compression(
    warehouse_url: str, table: str, compress: str | bool
) -> None:
    client = clickhouse_connect.get_client(dsn=warehouse_url, compress=compress, dedicated_pool=True)
    rows = [(number, f"é{number}") for number in range(1000)]
    client.insert(table, rows, column_names=["a", "b"])
    read = client.query(f"SELECT * FROM {table} ORDER BY a").result_rows
    client.close()

    assert read == rows


def test_clickhouse_connect_binds_parameters_of_any_size(client: Client) -> None:
    values = {"s": "it's\n\t\\é" * 5000, "a": ["q'", ""], "n": None}
    row = client.query("SELECT {s:String}, {a:Array(String)}, {n:Nullable(String)}", parameters=values).result_rows[0]

    assert row == tuple(values.values())


def test_clickhouse_connect_runs_ddl_and_learns_columns(client: Client, table: str) -> None:
    client.command(f"ALTER TABLE {table} ADD COLUMN c Array(Float32)")

    assert client.query(f"SELECT * FROM {table} LIMIT 0").column_names == ("a", "b", "c")
    assert client.command(f"SELECT a FROM {table}") == ""
    assert client.command("SELECT 41 + 1") == 42


def test_clickhouse_connect_streams_raw_data_both_ways(client: Client, table: str) -> None:
    client.raw_insert(table, ["a", "b"], b'1,"x;\n\ny"\n', fmt="CSV")
    client.raw_insert(table, ["a", "b"], gzip.compress(b"2,z\n"), fmt="CSV", compression="gzip")

    assert client.raw_query(f"SELECT * FROM {table} ORDER BY a", fmt="CSV") == b'1,"x;\n\ny"\n2,"z"\n'
    with client.query_row_block_stream("SELECT number FROM numbers(200000)") as blocks:
        assert sum(len(block) for block in blocks) == 200_000


def test_clickhouse_connect_sees_clickhouse_s_errors(client: Client) -> None:
    with pytest.raises(DatabaseError) as error:
        client.query("SELECT * FROM none")
    assert (error.value.code, error.value.name) == (60, "UNKNOWN_TABLE")


def test_a_token_used_again_writes_nothing(client: Client, table: str) -> None:
    for token in ("x", "x", "y"):
        client.insert(table, [(1, "same")], column_names=["a", "b"], settings={"insert_deduplication_token": token})

    assert client.command(f"SELECT count() FROM {table}") == 2
