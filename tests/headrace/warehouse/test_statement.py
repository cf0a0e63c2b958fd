from __future__ import annotations

import pytest

from headrace.warehouse.errors import QueryError
from headrace.warehouse.statement import parse


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
