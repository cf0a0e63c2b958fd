"""Statements of a request: where the inserted data begin, and which format the answer is in."""

from __future__ import annotations

import re
from typing import NamedTuple

from headrace.warehouse.errors import SYNTAX_ERROR, QueryError

_ROW_STATEMENTS = frozenset(b"SELECT WITH SHOW DESCRIBE DESC EXPLAIN EXISTS CHECK KILL VALUES FROM".split())

_TOKEN = re.compile(
    rb"""(?P<skip>\s+|--[^\n]*|\#[\ !][^\n]*|/\*.*?\*/)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    |(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<end>;)|.""",
    re.DOTALL | re.VERBOSE,
)


class Statement(NamedTuple):
    """One statement; for an insert with data, what precedes the data, their format, and the data."""

    sql: bytes
    output_format: str | None
    returns_rows: bool
    input_format: str | None = None
    data: bytes = b""


def parse(text: bytes) -> Statement:
    r"""Split a request into statement and inserted data, as ClickHouse's parser does.

    >>> parse(b"INSERT INTO t (a) FORMAT CSV\n1\n2\n")[0::3]
    (b'INSERT INTO t (a) ', 'CSV')
    >>> parse(b"SELECT 1 FORMAT JSON;").output_format
    'JSON'

    Raises:
        QueryError: there is no statement, or more than one.
    """
    depth = ended = 0
    words: list[bytes] = []  # tokens outside parentheses, words in capitals, all others empty
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "skip":
            continue
        if ended:
            raise QueryError(SYNTAX_ERROR, "Syntax error: multi-statements are not allowed")
        depth += (kind == "open") - (kind == "close")
        ended = kind == "end" and depth <= 0
        if ended or depth > (kind == "open") or kind == "close":
            continue
        word = token[0].upper() if kind == "word" else b""
        words.append(word)
        if words[0] != b"INSERT" or len(words) < 3:
            continue
        if word == b"VALUES":
            return Statement(text[: token.start()], None, False, "Values", text[token.end() :])
        if len(words) > 3 and words[-2] == b"FORMAT" and word:
            return _insert_with_data(text, token)
        if word in (b"SELECT", b"WITH", b"FROM", b"WATCH"):
            return Statement(text, None, False)
    if not words:
        raise QueryError(SYNTAX_ERROR, "Syntax error: Empty query")
    return Statement(text, _last_format(text, words), words[0] in _ROW_STATEMENTS or words[0] == b"")


def _insert_with_data(text: bytes, name: re.Match[bytes]) -> Statement:
    head = re.sub(rb"(?i)FORMAT\s+\Z", b"", text[: name.start()])
    gap = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?").match(text, name.end())
    return Statement(head, None, False, name[0].decode(), text[gap.end() if gap else name.end() :])


def _last_format(text: bytes, words: list[bytes]) -> str | None:
    if words[-2:-1] != [b"FORMAT"]:
        return None
    found = re.findall(rb"(?i)\bFORMAT\s+(\w+)", text)
    return found[-1].decode() if found else None
