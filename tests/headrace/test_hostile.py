"""Hostile requests against the API as it runs: no defect, no echo, every refusal a small problem document."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from hostile import CORPUS, ECHO, RAW, Hostile

MAX_PROBLEM = 4096


@pytest.fixture(scope="module")
def client(running_api: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running_api, timeout=30.0) as client:
        yield client


def test_the_corpus_is_large_and_names_each_case_once() -> None:
    names = [case.name for case in CORPUS]

    assert len(names) == len(set(names)) >= 100


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_a_hostile_request_is_refused_or_harmless(client: httpx.Client, case: Hostile) -> None:
    answer = client.request(case.method, case.path, content=case.body, headers=case.headers)

    assert answer.status_code in case.statuses, answer.text
    assert ECHO not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    if answer.status_code >= 400:
        problem = json.loads(answer.content)
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.content) <= MAX_PROBLEM
        assert problem["status"] == answer.status_code
        assert set(problem) == {"type", "title", "status", "detail", "code", "errors"}


@pytest.mark.parametrize(("name", "sent"), RAW, ids=[name for name, _ in RAW])
def test_what_is_no_request_is_refused_and_harms_no_other(client: httpx.Client, name: str, sent: bytes) -> None:
    place = urlsplit(str(client.base_url))
    with socket.create_connection((place.hostname, place.port), timeout=5.0) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65_536)
        except OSError:  # closed before it was all sent
            answer = b""

    assert answer == b"" or answer.split()[1].startswith(b"4"), answer
    assert client.get("/health/ready").status_code == 200


def test_nothing_tells_which_version_of_what_answers(client: httpx.Client) -> None:
    for path in ("/health/live", "/v1/models", "/nothing"):
        headers = client.get(path).headers
        assert not any(character.isdigit() for character in headers.get("server", ""))
        assert "x-powered-by" not in headers


def test_a_page_of_the_api_runs_only_what_comes_from_it(client: httpx.Client) -> None:
    policy = client.get("/docs").headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
