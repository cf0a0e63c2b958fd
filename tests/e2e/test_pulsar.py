"""The whole system with its log on a real Pulsar, as its users run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace.supervisor import free_port

pytestmark = [pytest.mark.slow, pytest.mark.brokers]

Eventually = Callable[..., Any]


@dataclass(frozen=True)
class System:
    """A running `headrace up`, and the environment it runs in."""

    api: str
    environment: dict[str, str]

    def call(self, method: str, path: str, document: Any = None) -> dict[str, Any]:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.api}{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=10.0) as response:
            answer: dict[str, Any] = json.loads(response.read())
            return answer

    def run(self, *words: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "headrace", *words, "--json"]
        ended = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, "")
        document: dict[str, Any] = json.loads(ended.stdout)
        return document


@pytest.fixture(scope="module")
def system(pulsar_broker: Any) -> Iterator[System]:
    with tempfile.TemporaryDirectory(prefix="hr-") as directory:  # short: a socket lies in it
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        environment["HEADRACE_LOG"] = f"{pulsar_broker.url}/public/whole?admin={pulsar_broker.admin_url}"
        environment["HEADRACE_DATA_DIR"] = str(Path(directory) / "data")
        command = [sys.executable, "-m", "headrace", "up", "--port", str(free_port()), "--json"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        else:
            pytest.fail(f"up ended: {process.communicate()[1]}")
        yield System(json.loads(text)["api"], environment)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err


def test_a_click_is_in_the_record_and_in_the_next_slate(system: System, eventually: Eventually) -> None:
    items = [{"item_id": f"{kind}-{i}", "categories": [kind], "price": 5} for kind in ("pan", "boot") for i in range(5)]
    assert system.call("POST", "/v1/items:batch", {"items": items})["accepted"] == 10
    before = system.call("GET", "/v1/recommendations/alice")["state_as_of"]

    clicked = {"event_type": "click", "user_id": "alice", "item_id": "pan-1"}
    assert system.call("POST", "/v1/events", {"events": [clicked]})["accepted"] == 1

    def is_reflected() -> bool:
        slate = system.call("GET", "/v1/recommendations/alice")
        shown = {item["item_id"] for item in slate["items"]}
        return bool(slate["state_as_of"] != before and any(item.startswith("pan-") for item in shown))

    eventually(is_reflected, within_s=30.0)


def test_the_log_is_shown_and_read(system: System, eventually: Eventually) -> None:
    event = {"event_id": "shown", "event_type": "view", "user_id": "carol", "item_id": "pan-2"}
    system.call("POST", "/v1/events", {"events": [event]})

    topics = system.run("log", "topics")["topics"]
    read = system.run("log", "read", "events")["messages"]

    assert sum(topics["events"]["messages"]) >= 1
    assert "shown" in [message["content"]["event_id"] for message in read]

    def is_taken_in() -> bool:  # by the records, the learners and the warehouse
        views = system.run("log", "lag")["views"]
        return not any(sum(views[name]["events"]["messages"]) for name in ("state", "join", "record"))

    eventually(is_taken_in, within_s=30.0)
