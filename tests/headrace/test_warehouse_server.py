from __future__ import annotations

import gzip
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import httpx
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from headrace import warehouse_server
from headrace.keys import KEYS_FILE, load_keys
from headrace.supervisor import Service, Supervisor, free_port
from headrace.warehouse_server import QueryError, decompressed, parse
from online.connect import open_warehouse
from online.ports import Unavailable

COLUMNS = "(a UInt64, b String) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100"


@pytest.fixture
def http(warehouse_url: str) -> Iterator[httpx.Client]:
    parts = urlsplit(warehouse_url)
    auth = (parts.username or "", parts.password or "")
    base_url = f"http://{parts.hostname}:{parts.port}"
    with httpx.Client(base_url=base_url, auth=auth, trust_env=False) as client:
        yield client


@pytest.fixture
def client(warehouse_url: str) -> Iterator[Client]:
    client = clickhouse_connect.get_client(dsn=warehouse_url, dedicated_pool=True)
    yield client
    client.close()


@pytest.fixture
def table(http: httpx.Client) -> str:
    name = f"t_{uuid.uuid4().hex[:8]}"
    http.post("/", content=f"CREATE TABLE {name} {COLUMNS}").raise_for_status()
    return name


def ask(http: httpx.Client, sql: str, **params: str) -> str:
    return http.post("/", params=params, content=sql).raise_for_status().text


# --- statements ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "head", "fmt", "data"),
    [
        (b"INSERT INTO t (a) FORMAT Native\n\x00\x01\n", b"INSERT INTO t (a) ", "Native", b"\x00\x01\n"),
        (b"insert into t format CSV 1,2\n", b"insert into t ", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT TSV\r\n\n1\n", b"INSERT INTO t ", "TSV", b"\n1\n"),
        (b"INSERT INTO `format` (`values`) VALUES (1); x", b"INSERT INTO `format` (`values`) ", "Values", b" (1); x"),
        (b"INSERT INTO t (format, values) FORMAT CSV\n1", b"INSERT INTO t (format, values) ", "CSV", b"1"),
        (
            b"INSERT INTO t -- FORMAT x\n/* VALUES */ FORMAT CSV\n1",
            b"INSERT INTO t -- FORMAT x\n/* VALUES */ ",
            "CSV",
            b"1",
        ),
        (b"INSERT INTO FUNCTION f('FORMAT') VALUES(1)", b"INSERT INTO FUNCTION f('FORMAT') ", "Values", b"(1)"),
        (b"INSERT INTO t SETTINGS x = 'a;b' VALUES (1)", b"INSERT INTO t SETTINGS x = 'a;b' ", "Values", b" (1)"),
    ],
)
def test_an_insert_is_split_from_its_data(text: bytes, head: bytes, fmt: str, data: bytes) -> None:
    statement = parse(text)

    assert (statement.sql, statement.input_format, statement.data) == (head, fmt, data)
    assert not statement.returns_rows


@pytest.mark.parametrize(
    ("text", "returns_rows", "fmt"),
    [
        (b"SELECT 'a;b', `x;y`, \"z;\" -- ; \n", True, None),
        (b"  select 1 format JSON ;  ", True, "JSON"),
        (b"SELECT 'FORMAT CSV' AS format FROM t", True, None),
        (b"(SELECT 1) UNION ALL (SELECT 2)", True, None),
        (b"WITH 1 AS x SELECT x", True, None),
        (b"SELECT $tag$ ; FORMAT $tag$", True, None),
        (b"CREATE TABLE t (a UInt8) ENGINE = Memory AS SELECT 1", False, None),
        (b"INSERT INTO t SELECT 1 FORMAT CSV", False, None),
        (b"INSERT INTO t WITH 1 AS x SELECT x", False, None),
        (b"INSERT INTO t FROM INFILE 'x.csv' FORMAT CSV", False, None),
    ],
)
def test_a_statement_without_data_goes_to_the_engine_as_it_is(text: bytes, returns_rows: bool, fmt: str | None) -> None:
    statement = parse(text)

    assert (statement.sql, statement.input_format) == (text, None)
    assert (statement.returns_rows, statement.output_format) == (returns_rows, fmt)


@pytest.mark.parametrize("text", [b"", b" \n", b"-- only this", b";", b"SELECT 1; SELECT 2", b"DROP TABLE t;;SELECT 1"])
def test_no_statement_or_two_are_refused(text: bytes) -> None:
    with pytest.raises(QueryError) as error:
        parse(text)
    assert error.value.code == 62


# --- encodings ----------------------------------------------------------------------------------------------


def test_frames_in_a_row_are_decompressed() -> None:
    assert decompressed(gzip.compress(b"ab") + gzip.compress(b"c"), "gzip", 3) == b"abc"


@pytest.mark.parametrize(
    ("data", "encoding", "code"),
    [
        (gzip.compress(bytes(10_000_000)), "gzip", 229),
        (gzip.compress(b"abc")[:-4], "gzip", 271),
        (b"not compressed", "lz4", 271),
        (b"not compressed", "zstd", 271),
        (b"x", "rot13", 48),
    ],
)
def test_bombs_damaged_and_unknown_encodings_are_refused(data: bytes, encoding: str, code: int) -> None:
    with pytest.raises(QueryError) as error:
        decompressed(data, encoding, 1_000_000)
    assert error.value.code == code


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_a_response_is_compressed_when_asked_for(http: httpx.Client, encoding: str) -> None:
    request = http.build_request(
        "POST",
        "/",
        params={"enable_http_compression": "1"},
        headers={"Accept-Encoding": encoding},
        content="SELECT repeat('x', 10000)",
    )
    response = http.send(request, stream=True)
    body = b"".join(response.iter_raw())
    response.close()

    assert response.headers["content-encoding"] == encoding
    assert decompressed(body, encoding, 20_000) == b"x" * 10_000 + b"\n"


# --- the interface over HTTP --------------------------------------------------------------------------------


def test_ping_and_root_need_no_key(http: httpx.Client) -> None:
    for path in ("/ping", "/"):
        assert http.get(path, auth=lambda request: request).text == "Ok.\n"


def test_a_key_is_accepted_in_each_of_clickhouse_s_three_places(http: httpx.Client, warehouse_url: str) -> None:
    key = urlsplit(warehouse_url).password or ""
    for headers, params in (
        ({"X-ClickHouse-User": "default", "X-ClickHouse-Key": key}, {}),
        ({"X-ClickHouse-Key": key}, {}),
        ({}, {"user": "default", "password": key}),
    ):
        response = httpx.post(str(http.base_url), content="SELECT 1", headers=headers, params=params, trust_env=False)
        assert response.text == "1\n"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "194"),
        ({"X-ClickHouse-User": "default", "X-ClickHouse-Key": "wrong"}, 403, "516"),
        ({"X-ClickHouse-User": "default"}, 403, "516"),
        ({"Authorization": "Basic %%%"}, 403, "516"),
        ({"Authorization": "Basic /////w=="}, 403, "516"),
    ],
)
def test_without_the_right_key_nothing_is_executed(
    http: httpx.Client, headers: dict[str, str], status: int, code: str
) -> None:
    response = httpx.post(str(http.base_url), content="SELECT 1", headers=headers, trust_env=False)

    assert response.status_code == status
    assert response.headers["X-ClickHouse-Exception-Code"] == code


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT * FROM no_such_table", 404, 60, "UNKNOWN_TABLE"),
        ("SELEC 1", 400, 62, "SYNTAX_ERROR"),
        ("SELECT no_such_column", 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT {x:UInt8}", 400, 456, "UNKNOWN_QUERY_PARAMETER"),
    ],
)
def test_errors_look_like_clickhouse_s(http: httpx.Client, sql: str, status: int, code: int, name: str) -> None:
    response = http.post("/", content=sql)

    assert response.status_code == status
    assert response.headers["X-ClickHouse-Exception-Code"] == str(code)
    assert response.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version " in response.text


def test_formats_come_from_the_statement_the_parameter_or_the_header(http: httpx.Client) -> None:
    assert ask(http, "SELECT 1 AS a, 'b' AS b") == "1\tb\n"
    assert ask(http, "SELECT 1 AS a", default_format="JSONEachRow") == '{"a":1}\n'
    assert ask(http, "SELECT 1 AS a FORMAT CSVWithNames", default_format="JSONEachRow") == '"a"\n1\n'
    response = http.post("/", content="SELECT 1 AS a", headers={"X-ClickHouse-Format": "JSONEachRow"})
    assert (response.text, response.headers["X-ClickHouse-Format"]) == ('{"a":1}\n', "JSONEachRow")


def test_parameters_are_bound_not_pasted(http: httpx.Client) -> None:
    answer = ask(http, "SELECT {s:String}, {n:UInt8} + 1", param_s="it's `x` -- \\t", param_n="7")

    assert answer == "it\\'s `x` -- \\t\t8\n"


def test_settings_and_database_last_for_one_request(http: httpx.Client) -> None:
    name = f"d_{uuid.uuid4().hex[:8]}"
    ask(http, f"CREATE DATABASE {name}")
    sql = "SELECT currentDatabase(), getSetting('max_block_size')"

    assert ask(http, sql, database=name, max_block_size="1234", session_id="s") == f"{name}\t1234\n"
    assert ask(http, sql, session_id="s") != f"{name}\t1234\n"
    assert http.post("/", params={"database": "none"}, content=sql).headers["X-ClickHouse-Exception-Code"] == "81"


@pytest.mark.parametrize("name", ["no_such_setting", "x = 1, y", "1"])
def test_an_unknown_setting_is_refused(http: httpx.Client, name: str) -> None:
    response = http.post("/", params={name: "1"}, content="SELECT 1")

    assert response.headers["X-ClickHouse-Exception-Code"] == "115"


def test_get_only_reads(http: httpx.Client, table: str) -> None:
    assert http.get("/", params={"query": "SELECT 1"}).text == "1\n"
    refused = http.get("/", params={"query": f"DROP TABLE {table}"})
    assert refused.headers["X-ClickHouse-Exception-Code"] == "164"
    assert ask(http, f"EXISTS {table}") == "1\n"


def test_a_statement_may_be_split_over_url_and_body(http: httpx.Client, table: str) -> None:
    ask(http, "(1, 'one;'), (2, 'two')", query=f"INSERT INTO {table} VALUES")
    ask(http, "3,three\n", query=f"INSERT INTO {table} FORMAT CSV")
    ask(http, f"FROM {table}", query="SELECT count()")

    assert ask(http, f"SELECT * FROM {table} ORDER BY a") == "1\tone;\n2\ttwo\n3\tthree\n"


def test_an_insert_with_one_bad_row_writes_nothing(http: httpx.Client, table: str) -> None:
    response = http.post("/", content=f'INSERT INTO {table} FORMAT JSONEachRow\n{{"a":1}}\n{{"a":"x"}}\n')

    assert response.status_code == 400
    assert ask(http, f"SELECT count() FROM {table}") == "0\n"


def test_an_insert_counts_its_rows_and_has_no_format(http: httpx.Client, table: str) -> None:
    response = http.post("/", content=f"INSERT INTO {table} FORMAT CSV\n1,x\n2,y\n")

    assert json.loads(response.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert "X-ClickHouse-Format" not in response.headers
    assert "X-ClickHouse-Format" in http.post("/", content=f"SELECT * FROM {table} WHERE a = 9").headers


def test_a_body_announced_too_large_is_refused_before_it_is_sent(http: httpx.Client, warehouse_url: str) -> None:
    parts = urlsplit(warehouse_url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nX-ClickHouse-Key: {parts.password}\r\nContent-Length: 70000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_ping_answers_while_a_statement_runs(http: httpx.Client) -> None:
    slow = threading.Thread(target=ask, args=(http, "SELECT sleep(1)"))
    slow.start()
    time.sleep(0.2)
    start = time.monotonic()
    http.get("/ping").raise_for_status()
    waited_s = time.monotonic() - start
    slow.join()

    assert waited_s < 0.5


def test_requests_at_the_same_time_wait_for_one_another(http: httpx.Client, table: str) -> None:
    def insert(worker: int) -> None:
        for number in range(10):
            ask(http, f"INSERT INTO {table} VALUES ({worker * 10 + number}, 'x')")

    workers = [threading.Thread(target=insert, args=(worker,)) for worker in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert ask(http, f"SELECT count(), uniqExact(a) FROM {table}") == "60\t60\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_works_as_in_clickhouse_s_manual(warehouse_url: str, table: str) -> None:
    parts = urlsplit(warehouse_url)
    base = f"http://{parts.hostname}:{parts.port}/"

    def curl(*arguments: str, data: str | None = None) -> str:
        command = ["curl", "-sS", "--noproxy", "*", "-u", f"default:{parts.password}", *arguments]
        return subprocess.run(command, input=data, capture_output=True, text=True, check=True).stdout

    curl(f"{base}?query=INSERT%20INTO%20{table}%20FORMAT%20TSV", "--data-binary", "@-", data="1\tone\n")
    assert curl(base, "-d", f"SELECT * FROM {table} FORMAT JSONEachRow") == '{"a":1,"b":"one"}\n'
    assert curl(f"{base}?query=SELECT%202") == "2\n"
    assert curl(f"{base}?enable_http_compression=1", "--compressed", "-d", "SELECT 3") == "3\n"
    assert "UNKNOWN_TABLE" in curl(base, "-d", "SELECT * FROM none")


# --- clickhouse-connect -------------------------------------------------------------------------------------


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


# --- the process --------------------------------------------------------------------------------------------


def embedded(data_dir: Path, port: int) -> tuple[Service, str]:
    key = load_keys(data_dir).warehouse
    return warehouse_server.service(data_dir, port, data_dir / KEYS_FILE), warehouse_server.url(port, key)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_every_acknowledged_insert_survives_kills_and_a_restart(tmp_path: Path) -> None:
    service, url = embedded(tmp_path, free_port())
    with Supervisor([service], tmp_path) as supervisor:
        warehouse = open_warehouse(url)
        warehouse.execute(f"CREATE TABLE t {COLUMNS}")
        killer = threading.Thread(target=kill_again_and_again, args=(supervisor, 3))
        killer.start()
        acknowledged: list[int] = []
        while killer.is_alive() or len(acknowledged) < 10:
            block = len(acknowledged)
            rows = [(block * 10 + number, "x") for number in range(10)]
            try:
                warehouse.insert("t", ["a", "b"], rows, token=str(block))
            except Unavailable:
                time.sleep(0.02)  # the same block again, under the same token
            else:
                acknowledged.append(block)
        killer.join()
        restarts = supervisor.health()["warehouse"].restarts
    with Supervisor([service], tmp_path):
        counts = warehouse.query("SELECT count(), uniqExact(a), max(a) FROM t")
    warehouse.close()

    assert restarts == 3
    assert counts == [(len(acknowledged) * 10, len(acknowledged) * 10, len(acknowledged) * 10 - 1)]


def kill_again_and_again(supervisor: Supervisor, times: int) -> None:
    for count in range(times):
        wait_for(lambda: supervisor.health()["warehouse"].state == "ready")
        time.sleep(0.15)
        supervisor.kill("warehouse", signal.SIGKILL)
        wait_for(lambda count=count: supervisor.health()["warehouse"].restarts > count)
    wait_for(lambda: supervisor.health()["warehouse"].state == "ready")


def test_sigterm_ends_it_cleanly_and_what_it_cannot_use_is_told_in_one_line(tmp_path: Path) -> None:
    port = free_port()
    service, _ = embedded(tmp_path, port)
    process = subprocess.Popen(service.argv)
    wait_for(service.ready)
    busy = subprocess.run(service.argv, capture_output=True, text=True, check=False)
    options = ["--data-dir", str(tmp_path), "--port", str(port), "--key-file", str(tmp_path / "none")]
    keyless = subprocess.run(
        [sys.executable, "-m", "headrace.warehouse_server", *options], capture_output=True, text=True, check=False
    )
    process.terminate()

    assert process.wait(10) == 0
    assert busy.returncode == keyless.returncode == 1
    assert "Address already in use" in busy.stderr
    assert "cannot read the keys" in keyless.stderr
    assert len(busy.stderr.splitlines()) == len(keyless.stderr.splitlines()) == 1
