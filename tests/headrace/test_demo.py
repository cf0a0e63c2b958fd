from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from headrace.demo import Board

START = 1_767_225_600
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory with a short path, as the sockets of a demo need it, in which a demo makes its own."""
    with tempfile.TemporaryDirectory(prefix="hr-") as directory:
        yield Path(directory)


@pytest.fixture
def start(temporary: Path) -> Iterator[Start]:
    """Start a demo; the environment names stores that it must not touch."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    environment |= {"TMPDIR": str(temporary), "HEADRACE_LOG": "redis://production.invalid", "HEADRACE_API_KEYS": "k"}
    with ExitStack() as stack:

        def run(*words: str) -> subprocess.Popen[str]:
            demo = subprocess.Popen(
                [sys.executable, "-m", "headrace", "demo", "--json", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
                cwd=temporary,
            )
            stack.callback(demo.wait)
            stack.callback(demo.kill)
            return demo

        yield run


@pytest.fixture
def ended(temporary: Path, processes_of: Callable[[str], list[int]]) -> Callable[[subprocess.Popen[str]], str]:
    """Wait for a demo that ends well, check that it leaves nothing behind, return what it printed."""

    def wait(demo: subprocess.Popen[str]) -> str:
        out, err = demo.communicate(timeout=120)
        assert (demo.returncode, err) == (0, "")
        assert processes_of(str(temporary)) == []
        assert list(temporary.iterdir()) == []
        return out

    return wait


@pytest.mark.slow
def test_the_demo_shows_a_shop_and_ends_by_itself(start: Start, ended: Callable[..., str]) -> None:
    document = json.loads(ended(start("--for", "12")))

    fresh = document["click_to_slate_ms"]
    assert fresh["n"] > 0
    assert 0 < fresh["p50"] <= fresh["p95"] <= fresh["max"]
    assert document["took_s"] >= 12
    assert min(document["events"], document["slates"], document["visits"]) > 0
    assert document["policies"].keys() == {"personal", "popularity"}
    assert document["slates"] == sum(arm["slates"] for arm in document["policies"].values())
    shown = document["one_user"]
    assert len(shown["before"]) == len(shown["after"]) == 6
    assert shown["before"] != shown["after"]
    assert any(shown["clicked"] in line for line in shown["after"])
    assert document["urls"]["docs"].endswith("/docs")
    assert "production" not in json.dumps(document)


@pytest.mark.slow
def test_the_demo_of_recorded_events_ends_with_them(start: Start, ended: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "clicks.ndjson"
    with path.open("w", encoding="utf-8") as file:
        for i in range(400):
            event = {"event_type": "click", "user_id": str(i % 8), "item_id": f"i{i * 7 % 31}", "timestamp": START + i}
            file.write(json.dumps(event) + "\n")

    document = json.loads(ended(start("--events", str(path))))

    assert document["events"] == 400
    assert document["slates"] == sum(arm["slates"] for arm in document["policies"].values()) > 0
    assert document["policies"].keys() == {"personal-1", "popularity-1"}


@pytest.mark.slow
def test_ctrl_c_breaks_off_the_start_and_leaves_nothing_behind(
    start: Start, temporary: Path, processes_of: Callable[[str], list[int]], eventually: Callable[..., Any]
) -> None:
    demo = start()
    eventually(lambda: list(temporary.glob("*/data/log/flow-state.log")), within_s=30.0)
    for _ in range(2):  # a terminal and `uv run` both send it
        demo.send_signal(signal.SIGINT)
        time.sleep(0.05)
    out, err = demo.communicate(timeout=20)

    assert (demo.returncode, out, err) == (130, "", "")
    assert processes_of(str(temporary)) == []
    assert list(temporary.iterdir()) == []


def test_the_freshness_of_a_board_is_told_in_order() -> None:
    board = Board(freshness_ms=[3.0, 100.0, *[2.0] * 98])

    assert Board().freshness() == {"n": 0}
    assert board.freshness() == {"n": 100, "p50": 2.0, "p95": 2.0, "max": 100.0}
