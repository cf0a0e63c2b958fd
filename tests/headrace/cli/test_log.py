from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Callable

import pytest

from headrace.cli import main
from headrace.process import create_topics
from headrace.settings import without_secret
from online.connect import open_log
from online.core.partition import EVENTS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    """URL of a log of the test's own."""
    return new_database()


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `headrace log` on a log that holds some events; return exit status, stdout and stderr."""
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    for name in ("LOG", "STATE"):
        monkeypatch.setenv(f"HEADRACE_{name}", url)
    monkeypatch.setenv("HEADRACE_WAREHOUSE", "http://127.0.0.1:1/none")
    log = open_log(url)
    create_topics(log, 2)
    log.close()

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headrace", "log", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def event_id(run: Run, url: str) -> str:
    """The id of an event in partition 1."""
    event_id = uuid.uuid4().hex
    log = open_log(url)
    log.append(EVENTS, [(1, b'{"event_id":"%s"}' % event_id.encode())])
    log.close()
    return event_id


def test_topics_prints_one_object_without_secrets(run: Run, url: str, event_id: str) -> None:
    status, out, err = run("topics", "--json")

    document = json.loads(out)
    assert (status, err) == (0, "")
    assert document["log"] == without_secret(url)
    assert document["topics"][EVENTS]["messages"][1] >= 1


def test_lag_prints_one_object(run: Run, event_id: str) -> None:
    status, out, err = run("lag", "--json")

    assert (status, err) == (0, "")
    assert json.loads(out)["views"]["state"][EVENTS]["messages"][1] >= 1


def test_read_prints_a_message_a_line_and_goes_on_behind_it(run: Run, event_id: str) -> None:
    status, out, _ = run("read", EVENTS, "--partition", "1")
    lines = [json.loads(line) for line in out.splitlines()]

    assert status == 0
    assert lines[-1]["content"] == {"event_id": event_id}
    _, out, _ = run("read", EVENTS, "--partition", "1", "--after", lines[-1]["position"], "--json")
    assert json.loads(out) == {"messages": []}


def test_read_stops_at_its_limit(run: Run, event_id: str) -> None:
    _, out, _ = run("read", EVENTS, "--follow", "--limit", "1")

    assert len(out.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("clicks",), "there is no topic clicks"),
        ((EVENTS, "--partition", "7"), "the partitions of events are 0 to 1"),
        ((EVENTS, "--partition", "1", "--after", "x"), "'x' is no position of a Redis log"),
        ((EVENTS, "--after", "5-1"), "a position is one of a --partition"),
        ((EVENTS, "--since", "yesterday"), "--since"),
        ((EVENTS, "--follow", "--json"), "leave out --json"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(run: Run, words: tuple[str, ...], complaint: str) -> None:
    status, out, err = run("read", *words)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
