"""Ways to talk to the embedded warehouse of the session."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

COLUMNS = "(a UInt64, b String) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100"


@pytest.fixture
def http(warehouse_url: str) -> Iterator[httpx.Client]:
    parts = urlsplit(warehouse_url)
    auth = (parts.username or "", parts.password or "")
    base_url = f"http://{parts.hostname}:{parts.port}"
    with httpx.Client(base_url=base_url, auth=auth, trust_env=False) as client:
        yield client


@pytest.fixture
def table(http: httpx.Client) -> str:
    name = f"t_{uuid.uuid4().hex[:8]}"
    http.post("/", content=f"CREATE TABLE {name} {COLUMNS}").raise_for_status()
    return name
