from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import uuid
from urllib.parse import urlsplit

import httpx
import pytest

from headrace.warehouse.encoding import decompressed


def ask(http: httpx.Client, sql: str, **params: str) -> str:
    return http.post("/", params=params, content=sql).raise_for_status().text


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
