"""Requests that nobody should send, and the statuses that they may be answered with."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

ECHO = "<echo>7351"  # stands in what is sent and must not stand in what is answered
JSON = {"Content-Type": "application/json"}
EVENT = {"event_type": "view", "user_id": "1", "item_id": "a"}


class Hostile(NamedTuple):
    """A request and the statuses of its answer."""

    name: str
    statuses: tuple[int, ...]
    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = JSON


def post(name: str, body: str | bytes, *statuses: int, path: str = "/v1/events", **headers: str) -> Hostile:
    """Return a POST."""
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    raw = body.encode() if isinstance(body, str) else body
    return Hostile(name, statuses or (422,), "POST", path, raw, {**JSON, **given})


def event(name: str, fields: str, *statuses: int) -> Hostile:
    """Return a POST of an event with further fields, as they stand."""
    return post(name, f'{{"event_type":"view","item_id":"{ECHO}",{fields}}}', *statuses)


def ask(name: str, fields: str, *statuses: int) -> Hostile:
    """Return a request for a slate."""
    return post(name, f"{{{fields}}}", *statuses, path="/v1/recommendations")


def put(name: str, path: str, body: str, *statuses: int) -> Hostile:
    """Return a PUT."""
    return Hostile(name, statuses or (422,), "PUT", path, body.encode())


def get(name: str, path: str, *statuses: int, **headers: str) -> Hostile:
    """Return a GET."""
    return Hostile(
        name, statuses or (422,), "GET", path, None, {key.replace("_", "-"): v for key, v in headers.items()}
    )


def nested(levels: int) -> str:
    """Return lists in lists."""
    return "[" * levels + "]" * levels


def dumped(**document: Any) -> str:
    """Return a JSON object without its braces."""
    return json.dumps(document)[1:-1]


USER = '"user_id":"1"'
CORPUS: list[Hostile] = [
    # numbers
    event("NaN", f'{USER},"value":NaN'),
    event("infinity", f'{USER},"value":-Infinity'),
    event("1e999 in a field", f'{USER},"value":1e999'),
    event("1e999 in a context", f'{USER},"context":{{"x":1e999}}'),
    event("1e999 deep in properties", f'{USER},"properties":{{"x":[[1e999]]}}'),
    event("NaN in properties", f'{USER},"properties":{{"x":NaN}}'),
    event("an integer of 100 bits in properties", f'{USER},"properties":{{"x":{2**100}}}'),
    event("an integer of 5,000 digits", f'{USER},"properties":{{"x":{"9" * 5000}}}'),
    event("an integer of 4,300 digits", f'{USER},"properties":{{"x":{"9" * 4300}}}'),
    event("a position of 40 digits", f'{USER},"position":{"9" * 40}'),
    event("a time of 400 digits", f'{USER},"timestamp":{"9" * 400}'),
    event("a time before all times", f'{USER},"timestamp":-1e308'),
    event("an id that is a number of 5,000 digits", f'"user_id":{"9" * 5000}'),
    ask("a seed of 100 bits", f'{USER},"seed":{2**100}'),
    ask("a slate of a billion", f'{USER},"n":1e9'),
    ask("a slate of -1", f'{USER},"n":-1'),
    ask("a deadline in the past", f'{USER},"deadline_ms":-5'),
    put("a price beyond all prices", f"/v1/items/{ECHO}", '{"price":1e308}'),
    put("an embedding with infinity", f"/v1/items/{ECHO}", '{"embedding":[1e999]}'),
    put("an attribute of 100 bits", f"/v1/items/{ECHO}", f'{{"attributes":{{"x":{2**100}}}}}'),
    put("a user's attribute of 100 bits", f"/v1/users/{ECHO}", f'{{"attributes":{{"x":{2**100}}}}}'),
    put("a temperature of infinity", f"/v1/policies/{ECHO}", '{"tau":1e999}'),
    put("a boost of 1e308", f"/v1/rules/{ECHO}", '{"action":"boost","where":"true","factor":1e308}'),
    # text
    event("a lone surrogate as an id", '"user_id":"\\ud800"'),
    event("a lone surrogate as a name and a value", f'{USER},"properties":{{"\\udfff":"\\udfff"}}'),
    post("a surrogate in UTF-8", b'{"event_type":"view","user_id":"\xed\xa0\x80"}'),
    post("bytes that are no UTF-8", b'{"event_type":"view","user_id":"\xff\xfe"}'),
    post("an overlong slash", b'{"event_type":"view","user_id":"\xc0\xaf"}'),
    event("NUL in an id", '"user_id":"a\\u0000b"'),
    event("a newline in an id", '"user_id":"a\\nb"'),
    event("an empty id", '"user_id":""'),
    event("an id of 10,000 characters", f'"user_id":"{ECHO * 1000}"'),
    post("UTF-16", json.dumps(EVENT).encode("utf-16")),
    post(
        "UTF-16, which it says",
        json.dumps(EVENT).encode("utf-16"),
        415,
        Content_Type="application/json; charset=utf-16",
    ),
    # structure
    post("nothing", ""),
    post("null", "null"),
    post("a list", "[]"),
    post("text", '"x"'),
    post("half an object", '{"event_type":'),
    post("an object and more", json.dumps(EVENT) + " x"),
    post("a comment", '{/**/"event_type":"view"}'),
    post("100,000 lists in lists", nested(100_000)),
    event("100,000 lists in lists in properties", f'{USER},"properties":{{"x":{nested(100_000)}}}'),
    event("20 lists in lists in properties", f'{USER},"properties":{{"x":{nested(20)}}}'),
    put("20 lists in lists in an attribute", f"/v1/items/{ECHO}", f'{{"attributes":{{"x":{nested(20)}}}}}'),
    event("a key twice", f'{USER},"user_id":"{ECHO}"'),
    event("a key twice, once escaped", f'{USER},"\\u0075ser_id":"{ECHO}"'),
    event("a key twice in properties", f'{USER},"properties":{{"x":1,"x":2}}'),
    post("events twice", '{"events":[],"events":[]}'),
    ask("a key twice for a slate", f'{USER},"user_id":"{ECHO}"'),
    put("a key twice in an item", f"/v1/items/{ECHO}", '{"price":1,"price":2}'),
    post("a prototype", f'{{"__proto__":{{"admin":true}},"{ECHO}":1}}'),
    post("an unknown field", json.dumps({**EVENT, ECHO: ECHO})),
    post("rows that are no events", '{"events":[null,1,"x",[],{},{"x":{"x":1,"x":2}}]}', 202),
    post("rows that are a map", '{"events":{}}'),
    post("more beside the rows", '{"events":[],"x":1}'),
    post("1,001 rows", json.dumps({"events": [EVENT] * 1001}), 413),
    post("1,001 lines", "1\n" * 1001, 413, Content_Type="application/x-ndjson"),
    post("five megabytes", b"x" * 5_000_000, 413),
    post("lines that are no JSON", f"{ECHO}\n{{\n", 202, Content_Type="application/x-ndjson"),
    ask("a context of 1,000 entries", dumped(user_id="1", context={str(n): n for n in range(1000)})),
    ask("a session of 100,000 items", dumped(session_items=[ECHO] * 100_000)),
    # kinds of bodies
    post("XML", f"<!DOCTYPE x [<!ENTITY x SYSTEM 'file:///etc/hosts'>]><x>{ECHO}</x>", 415, Content_Type="text/xml"),
    post("a form with a file", f"--x\r\n\r\n{ECHO}\r\n--x--", 415, Content_Type="multipart/form-data; boundary=x"),
    post("bytes", ECHO, 415, Content_Type="application/octet-stream"),
    post("a content type that is none", ECHO, 415, Content_Type=ECHO),
    post("what says it is compressed", b"\x1f\x8b" + b"x" * 20, 415, Content_Encoding="gzip"),
    post("what says it is compressed twice", b"x", 415, Content_Encoding="gzip, br"),
    # expressions and references
    ask("a call of Python", dumped(user_id="1", filter="__import__('os').system('id')")),
    ask("a slow pattern", dumped(user_id="1", filter="item.id.matches('(a+)+$')")),
    ask("2,000 brackets", dumped(user_id="1", filter="(" * 1000 + "true" + ")" * 1000), 200),
    ask("100 negations", dumped(user_id="1", filter="!" * 500 + "true")),
    ask("a filter of 10,000 characters", dumped(user_id="1", filter=ECHO * 1000)),
    ask("SQL as a filter", dumped(user_id="1", filter="1; DROP TABLE events --")),
    ask("a file as a policy", dumped(user_id="1", policy=f"../../{ECHO}")),
    put("an address to fetch as an attribute", f"/v1/items/{ECHO}", '{"image_url":"http://127.0.0.1:1/"}'),
    post("a callback", json.dumps({**EVENT, "callback_url": "http://127.0.0.1:1/"})),
    post("a dry run of a billion slates", '{"slates":1e9}', path=f"/v1/rules/{ECHO}:dry_run"),
    post("a model of 30 digits", "{}", path=f"/v1/models/newton/versions/{'9' * 30}:activate"),
    post("a merge with half a character", '{"visitor_id":"\\ud800"}', path=f"/v1/users/{ECHO}:merge"),
    # addresses
    get("a path upwards", f"/v1/items/..%2f..%2f{ECHO}", 404),
    get("a slash in a letter's id", f"/v1/dead-letters/{ECHO}%2fb", 404),
    get("a slash in a slate's id", f"/v1/recommendations/{ECHO}%2fb%2f", 200),
    get("a slash in a policy's id", f"/v1/policies/{ECHO}%2fb", 404),
    get("a slash in a model's name", "/v1/models/a%2fb/versions/1", 404),
    post("a slash in the id of a slate that was", "{}", 404, 409, 422, path=f"/v1/recommendations/{ECHO}%2f/next"),
    post("a slash in a letter that is to be redriven", "{}", 404, path=f"/v1/dead-letters/{ECHO}%2fb:redrive"),
    get("half of what stands for a slash", "/v1/items/%ED%B0%AF", 400),
    get("a file upwards", "/static-offline-docs/..%2f..%2f..%2f..%2fetc%2fpasswd", 404),
    get("a file upwards, encoded twice", "/static-offline-docs/%252e%252e%252fapp.py", 404),
    get("a file beside", f"/static-offline-docs/{ECHO}", 404),
    get("NUL in a path", "/v1/items/%00"),
    get("NUL in a file", "/static-offline-docs/x%00.js", 404),
    get("a path that is no UTF-8", "/v1/recommendations/%ff%fe", 400),
    get("a surrogate in a path", "/v1/items/%ED%A0%80", 400),
    get("a path of 10,000 characters", f"/v1/items/{ECHO * 1000}"),
    get("a letter's id of 5,000 characters", f"/v1/dead-letters/{ECHO * 500}", 404, 422),
    get("a count of 30 digits", f"/v1/recommendations/1?n={'9' * 30}"),
    get("NUL in a query", "/v1/recommendations/1?surface=%00"),
    get("a time that is no number", "/v1/dead-letters?since=NaN"),
    get("a time of 5,000 digits", f"/v1/dead-letters?until={'9' * 5000}"),
    get("a place of 60 digits", f"/v1/dead-letters?cursor={'9' * 60}", 200),
    get("SQL in a query", f"/v1/dead-letters?reason={ECHO}'%20OR%201=1%20--", 200),
    get("no such path", f"/{ECHO}", 404),
    get("no such version", "/v2/events", 404),
    Hostile("TRACE", (405,), "TRACE", "/v1/events", None, {}),
    Hostile("a method that is none", (405,), "ECHO", "/v1/events", None, {}),
    Hostile("a DELETE with a body", (404,), "DELETE", f"/v1/items/{ECHO}", b"{}"),
    # who asks
    get("another name of this machine", "/v1/models", 403, Host="attacker.example"),
    post("a page of somewhere else", json.dumps(EVENT), 403, Origin="https://attacker.example"),
    post("a page of nowhere", json.dumps(EVENT), 403, Origin="null", Content_Type="text/plain"),
]

RAW: list[tuple[str, bytes]] = [
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64),
    ("a header of a megabyte", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n"),
    ("a thousand headers", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 1000 + b"\r\n"),
    ("a length and chunks", b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("two lengths", b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"),
    ("a length below nothing", b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n"),
    ("a broken chunk", b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ("a line feed in a header", b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: a\nY\r\n\r\n"),
]  # fmt: skip
"""What is no request: bytes to a socket. The HTTP server itself refuses these, or closes the connection."""
