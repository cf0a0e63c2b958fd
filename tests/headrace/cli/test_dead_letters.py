from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.state import letters_view, state_view
from flows.view import adopt_all
from headrace.cli import main
from headrace.keys import load_keys, prepare_data_dir
from headrace.process import create_topics
from online.connect import open_log, open_state
from online.core.dead_letter import DEAD, DeadLetter, encode_dead_letter
from online.core.partition import EVENTS, USER, partition_of
from online.core.record import decode_record

PARTITIONS, T0 = 2, 1_700_000_000.0
FIXED = {"event_type": "click", "user_id": "7", "item_id": "a"}
BROKEN = b'{"event_type": "teleport"}'


class System:
    """A log and a store in a Redis database of their own, whose flow runs when a test says so."""

    def __init__(self, url: str) -> None:
        self.log, self.state = open_log(url), open_state(url)
        create_topics(self.log, PARTITIONS)
        self._count = 0

    def run(self) -> None:
        options: dict[str, Any] = {"state": self.state, "log": self.log, "partitions": PARTITIONS}
        views = adopt_all([state_view(**options), letters_view(**options)])
        after = {key: position for view in views for key, position in view.positions().items()}
        while batches := self.log.read(after, max_messages=100, wait_s=0.0):
            for batch in batches:
                after[batch.topic, batch.partition] = batch.messages[-1].position
                for view in views:
                    if batch.topic in view.topics:
                        view.step(batch)()

    def bury(self, payload: bytes, reason: str = "why") -> str:
        self._count += 1
        letter = DeadLetter(
            topic=EVENTS, partition=0, position=f"p{self._count}", reason=reason, payload=payload, at=T0 + self._count
        )
        self.log.append(DEAD, [(0, encode_dead_letter(letter))])
        self.run()
        return letter.id

    def counted(self, user: str) -> dict[int, int]:
        record = self.state.get(partition_of(f"u{user}", PARTITIONS), USER, f"u{user}")
        return {} if record is None else decode_record(record).counts


@pytest.fixture
def system(new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    url = new_database()
    data_dir = prepare_data_dir(tmp_path / "data")
    load_keys(data_dir)
    for name, value in (("LOG", url), ("STATE", url), ("DATA_DIR", str(data_dir))):
        monkeypatch.setenv(f"HEADRACE_{name}", value)
    monkeypatch.setattr("online.dead_letters.SHOWN_S", 0.0)
    system = System(url)
    yield system
    system.log.close()
    system.state.close()


Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `headrace dead-letters … --json` in this process; return exit status, document and stderr."""

    def run(*words: str) -> tuple[int, Any, str]:
        monkeypatch.setattr(sys, "argv", ["headrace", "dead-letters", *words, "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), json.loads(out) if out else None, err

    return run


def test_pending_letters_are_listed_and_shown(system: System, run: Run) -> None:
    first, second = system.bury(b"\xff", "not UTF-8"), system.bury(BROKEN, "unknown event_type")

    assert [letter["id"] for letter in run("list")[1]["letters"]] == [second, first]
    assert [letter["id"] for letter in run("list", "--reason", "utf-8")[1]["letters"]] == [first]
    assert [letter["id"] for letter in run("list", "--since", str(T0 + 2))[1]["letters"]] == [second]
    page = run("list", "--limit", "1")[1]
    assert [letter["id"] for letter in run("list", "--cursor", str(page["next_cursor"]))[1]["letters"]] == [first]
    _, shown, _ = run("show", first)
    assert (shown["reason"], shown["encoding"], shown["payload"]) == ("not UTF-8", "base64", "/w==")


def test_an_edited_letter_is_redriven_from_a_file_or_from_stdin(
    system: System, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [system.bury(BROKEN), system.bury(BROKEN)]
    edited = tmp_path / "fixed.json"
    edited.write_text(json.dumps(FIXED), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(FIXED).encode())))
    for key, source in zip(keys, (str(edited), "-"), strict=True):
        status, document, err = run("redrive", key, "--payload", source, "--because", "typo")
        assert (status, document and document["applied"]) == (0, False), err
        assert "it will when it runs" in err
    system.run()

    assert system.counted("7") == {2: 2}
    verdicts = [letter["verdict"] for letter in run("list", "--status", "redriven")[1]["letters"]]
    assert [(verdict["by"], verdict["reason"]) for verdict in verdicts] == [("cli", "typo")] * 2
    assert run("list")[1]["letters"] == []


def test_many_are_redriven_or_discarded_at_once(system: System, run: Run) -> None:
    event = {**FIXED, "event_id": "e", "timestamp": T0, "received_at": T0, "items": [{"item_id": "a"}]}
    del event["item_id"]
    for number in range(3):
        system.bury(json.dumps({**event, "event_id": f"e{number}"}).encode())
    broken = system.bury(BROKEN)
    status, document, _ = run("redrive", "--all", "--limit", "10")
    system.run()

    assert (status, document["accepted"], [error["id"] for error in document["errors"]]) == (0, 3, [broken])
    assert system.counted("7") == {2: 3}
    assert run("discard", "--reason", "why", "--because", "noise")[1]["accepted"] == 1
    system.run()
    assert [letter["id"] for letter in run("list", "--status", "discarded")[1]["letters"]] == [broken]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["redrive"], "--all"),
        (["redrive", "ID", "--all"], "not both"),
        (["redrive", "--all", "--payload", __file__], "--payload"),
        (["redrive", "ID", "--payload", "nowhere.json"], "nowhere.json"),
        (["redrive", "events:0:none"], "no such letter"),
        (["show", "events:0:none"], "archive"),
        (["discard", "--all"], "--because"),
        (["list", "--since", "soon"], "--since"),
        (["list", "--status", "lost"], "pending, redriven, discarded, any"),
    ],
)
def test_what_does_not_fit_is_one_line_that_says_what_to_do(
    system: System, run: Run, words: list[str], complaint: str
) -> None:
    status, document, err = run(*words)

    assert (status, document) == (2, None)
    assert complaint in err
    assert len(err.splitlines()) == 1


def test_a_letter_that_cannot_be_redriven_as_it_is_or_any_more_is_told_in_one_line(system: System, run: Run) -> None:
    key = system.bury(BROKEN)

    assert "event_type" in run("redrive", key)[2]
    run("discard", key, "--because", "noise")
    system.run()
    status, _, err = run("redrive", key)
    assert (status, len(err.splitlines())) == (2, 1)
    assert "discarded by cli" in err
