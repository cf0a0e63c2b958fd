from __future__ import annotations

import pytest
from served_app import served
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from headrace.verify.fuzz import fuzz

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "faulty", "version": "1"},
    "paths": {
        "/number/{n}": {
            "get": {
                "parameters": [{"name": "n", "in": "path", "required": True, "schema": {"type": "integer"}}],
                "responses": {"200": {"description": "ok"}},
            }
        }
    },
}


def test_every_answer_of_the_api_is_as_promised(running_api: str) -> None:
    outcome = fuzz(running_api, requests=300, seed=7)

    assert outcome.examples == []
    assert (outcome.requests, outcome.is_correct) == (300, True)
    assert outcome.largest_problem <= 4096
    assert {"200", "202", "422"} <= set(outcome.by_status)


@pytest.mark.parametrize(
    ("status", "media_type", "size", "defects", "bad_problems"),
    [
        (500, "application/problem+json", 10, 20, 0),
        (422, "text/plain", 10, 0, 20),
        (422, "application/problem+json", 5000, 0, 20),
        (422, "application/problem+json", 10, 0, 0),
    ],
)
def test_an_api_that_breaks_the_promise_is_found_out(
    status: int, media_type: str, size: int, defects: int, bad_problems: int
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/openapi.json":
            await JSONResponse(DOCUMENT)(scope, receive, send)
        else:
            await PlainTextResponse("x" * size, status, media_type=media_type)(scope, receive, send)

    with served(app) as url:
        outcome = fuzz(url, requests=20, seed=1)

    assert (outcome.requests, outcome.defects, outcome.bad_problems) == (20, defects, bad_problems)
    assert outcome.is_correct == (defects + bad_problems == 0)


def test_an_answer_of_503_is_a_defect_when_it_comes_twice() -> None:
    asked = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal asked
        if scope["type"] != "http":
            return
        if scope["path"] == "/openapi.json":
            await JSONResponse(DOCUMENT)(scope, receive, send)
            return
        asked += 1
        status = 503 if asked in (2, 4, 5) else 404
        await PlainTextResponse("x", status, media_type="application/problem+json")(scope, receive, send)

    with pytest.MonkeyPatch.context() as patch, served(app) as url:
        patch.setattr("headrace.verify.fuzz.REST_S", 0.0)
        outcome = fuzz(url, requests=20, seed=1)

    assert (outcome.again, outcome.defects, outcome.by_status) == (2, 1, {"404": 19, "503": 1})
