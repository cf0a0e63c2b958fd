from __future__ import annotations

import gzip
from typing import Any

import pytest

URL = "/client/headrace.js"


def test_the_client_is_a_module_of_a_few_kilobytes(shared_system: Any) -> None:
    answer = shared_system.client.get(URL)

    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "export class Headrace" in answer.text
    assert "import " not in answer.text.replace("import.meta", "")
    assert len(answer.content) < 12_000
    assert len(gzip.compress(answer.content)) < 4_600
    assert "https://" not in answer.text


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "gzip"), ("identity", None)])
def test_the_client_is_compressed_for_who_takes_it(shared_system: Any, accepted: str, encoding: str | None) -> None:
    answer = shared_system.client.get(URL, headers={"Accept-Encoding": accepted})

    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "export class Headrace" in answer.text


def test_the_client_is_cached_and_then_asked_for_by_its_hash(shared_system: Any) -> None:
    first = shared_system.client.get(URL)
    again = shared_system.client.get(URL, headers={"If-None-Match": first.headers["etag"]})
    changed = shared_system.client.get(URL, headers={"If-None-Match": 'W/"of another version"'})

    assert first.headers["cache-control"] == "public, max-age=3600"
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert changed.status_code == 200


def test_pages_of_every_origin_may_run_it(shared_system: Any) -> None:
    answer = shared_system.client.get(URL, headers={"Origin": "https://shop.example"})

    assert answer.headers["access-control-allow-origin"] == "*"
