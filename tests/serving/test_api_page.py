"""The page docs/api.md: its commands run as they stand, and their answers hold what it shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = Path("docs/api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(curl .*?)```\n```json\n(.*?)```", PAGE, re.DOTALL)


class Warehouse:
    """A warehouse in which nothing is."""

    def query(self, sql: str, parameters: Any) -> list[tuple[Any, ...]]:
        return [(0,)] if "count" in sql or "uniq" in sql else []

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def shop(serve_for: Callable[..., Any]) -> Iterator[Any]:
    with serve_for(ports={"open_warehouse": Warehouse}) as system:
        yield system


def run(shop: Any, command: str, known: dict[str, str]) -> Any:
    """Run a curl of the page; `known` is what its variables stand for."""
    method, body, address = "", None, ""
    words = iter(shlex.split(re.sub(r"\$(\w+)", lambda name: known[name[1]], command))[1:])
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-d":
            body = next(words)
        else:
            address = word
    path = address.removeprefix("localhost:8700")
    answer = shop.client.request(method or ("GET" if body is None else "POST"), path, content=body)
    assert answer.is_success, (command, answer.text)
    return answer.json()


def lacking(shown: Any, real: Any, path: str = "") -> list[str]:
    """Return what the page shows and an answer does not have: names, not values."""
    if isinstance(shown, dict) and isinstance(real, dict):
        gone = [f"{path}.{name}" for name in shown.keys() - real.keys()]
        return gone + [
            one for name in shown.keys() & real.keys() for one in lacking(shown[name], real[name], f"{path}.{name}")
        ]
    if isinstance(shown, list) and shown and isinstance(shown[0], dict):
        return lacking(shown[0], real[0], f"{path}[]") if real else [f"{path}[]"]
    return []


def test_every_command_runs_and_answers_as_shown(shop: Any, eventually: Callable[..., Any]) -> None:
    known: dict[str, str] = {}
    for command, shown in BLOCKS:
        answer = run(shop, command, known)
        if "recommendation_id" in answer and "ID" not in known:
            known["ID"] = answer["recommendation_id"]
        assert lacking(json.loads(shown), answer) == [], command
        if "/v1/events" in command:
            eventually(lambda: (record := shop.worker.record("u7")) and record.recent)
            eventually(lambda: len(shop.worker.world.tops.listings["trending"]))
        if "-X PUT localhost:8700/v1/users/7 " in command:
            eventually(lambda: shop.worker.record("u7").labels)


def test_every_route_of_catalogue_slates_and_users_is_on_the_page(shop: Any) -> None:
    document = shop.client.get("/openapi.json").json()
    routes = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if operation["tags"][0] in ("Recommendations", "Catalogue and users")
    }
    shown = " ".join(command for command, _ in BLOCKS)
    for _, path in routes:
        plain = re.sub(r"\{(user_id)\}", "7", path).replace("{item_id}", "boot-1").replace("{recommendation_id}", "$ID")
        is_told = plain in shown or plain.replace("boot-1", "a%2Fb") in shown or "visitors" in plain
        assert is_told, path
