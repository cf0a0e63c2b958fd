from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from headrace.cli import main

Run = Callable[..., tuple[int, Any, str]]


def test_a_slate_is_explained_as_json_and_in_lines(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [{"item_id": name, "categories": ["shoes"]} for name in ("boot", "clog")]
    with httpx.Client(base_url=url) as api:
        api.post("/v1/items:batch", json={"items": items}).raise_for_status()
        slate = api.post("/v1/recommendations", json={"user_id": "1", "deadline_ms": 60_000}).json()

    status, found, _ = run("slates", "explain", slate["recommendation_id"])
    monkeypatch.setattr(sys, "argv", ["headrace", "slates", "explain", slate["recommendation_id"], "--url", url])
    with pytest.raises(SystemExit):
        main()

    told = capsys.readouterr().out
    assert (status, [item["item_id"] for item in found["items"]]) == (0, [item["item_id"] for item in slate["items"]])
    assert all(item["item_id"] in told for item in slate["items"])
    assert "model_version" in told
    assert run("slates", "explain", "0-0199f0a3b2c00112233445566aa")[0] == 2
