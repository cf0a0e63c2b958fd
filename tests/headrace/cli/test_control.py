from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.cli import main

Run = Callable[..., tuple[int, Any, str]]


def test_policies_are_written_rolled_back_and_taken_away(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "calm.json").write_text('{"tau": 0.5}', encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"tau": 0.75}'))
    assert run("policies", "put", "calm", "--file", str(tmp_path / "calm.json"))[1]["version"] == 1
    assert run("policies", "put", "calm", "--file", "-")[1]["version"] == 2

    status, answer, err = run("policies", "rollback", "calm", "--because", "too hot")

    assert (status, answer["version"], answer["lagging"], err) == (0, 1, [], "")
    shown = run("policies", "show", "calm")[1]
    assert (shown["document"]["tau"], shown["changes"][-1]["reason"]) == (0.5, "too hot")
    assert "calm" in {row["id"] for row in run("policies", "list")[1]["policies"]}
    assert run("policies", "delete", "calm")[1]["version"] is None


def test_surfaces_are_registered_and_given_other_policies(run: Run, tmp_path: Path) -> None:
    (tmp_path / "lounge.json").write_text('{"n": 3}', encoding="utf-8")
    run("surfaces", "put", "lounge", "--file", str(tmp_path / "lounge.json"))

    assert run("surfaces", "activate", "lounge", "greedy-1")[1]["document"]["policy"] == "greedy-1"
    assert run("surfaces", "show", "lounge")[1]["document"]["n"] == 3
    assert run("surfaces", "rollback", "lounge")[1]["document"]["policy"] == "personal-1"
    assert "lounge" in {row["id"] for row in run("surfaces", "list")[1]["surfaces"]}
    assert run("surfaces", "delete", "lounge")[0] == 0


def test_a_model_is_activated_and_rolled_back(run: Run) -> None:
    assert run("models", "activate", "newton-1", "--because", "better")[1]["document"] == {"candidate": "newton-1"}
    assert run("models", "rollback", "newton-1")[1]["document"] == {"candidate": None}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["policies", "show", "nobody"], "no such policy"),
        (["policies", "rollback", "personal-1"], "no version before"),
        (["policies", "put", "calm", "--file", "/nowhere.json"], "--file"),
        (["policies", "put", "calm", "--file", __file__], "no JSON"),
        (["surfaces", "activate", "home", "nobody"], "greedy-1"),
        (["models", "activate", "nobody"], "newton-1"),
        (["models", "activate", "nobody-7"], "newton-1"),
        (["models", "rollback", "newton-1"], "not active"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(run: Run, words: list[str], hint: str) -> None:
    status, document, err = run(*words)

    assert (status, document, len(err.splitlines())) == (2, None, 1)
    assert hint in err


def test_for_a_person_versions_are_listed_in_lines(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["headrace", "policies", "list", "--url", url])
    with pytest.raises(SystemExit):
        main()

    assert "personal-1           version 1    built in" in capsys.readouterr().out


def test_rules_are_written_tried_and_taken_away(run: Run, tmp_path: Path) -> None:
    rule, wrong = tmp_path / "rule.json", tmp_path / "wrong.json"
    rule.write_text('{"action": "exclude", "where": "item.price > 99"}', encoding="utf-8")
    wrong.write_text('{"action": "exclude", "where": "item.prize > 99"}', encoding="utf-8")

    assert run("rules", "dry-run", "dear", "--file", str(rule))[1]["slates"] == 0
    assert run("rules", "put", "dear", "--file", str(rule))[1]["version"] == 1
    assert run("rules", "show", "dear")[1]["document"]["where"] == "item.price > 99"
    assert run("rules", "dry-run", "dear", "--slates", "10")[1]["changed"] == 0
    status, _, said = run("rules", "put", "dear", "--file", str(wrong))
    assert (status, "column 1: there is no item.prize: did you mean item.price?" in said) == (2, True)
    assert run("rules", "rollback", "dear")[0] == 2  # it is the first version
    assert run("rules", "delete", "dear")[1]["version"] is None
    assert run("rules", "list")[1]["rules"] == []
