from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace.recorded import chosen_mapping, open_system, replay_file
from headrace.settings import SettingsError
from online.adapters.chdb_files import BadFile, ChdbFiles
from replay.feed import FeedConfig
from replay.http_system import HttpSystem, Rejected
from replay.local_system import LocalSystem

START = 1_767_225_600


def write(path: Path, *, bad_line: str = "") -> Path:
    """Write 120 clicks of 6 users, each going round the same four items."""
    lines = [
        json.dumps(
            {
                "event_id": f"e{i}",
                "event_type": "click",
                "user_id": str(i % 6),
                "item_id": f"item-{(i // 6) % 4}",
                "timestamp": START + i,
            }
        )
        for i in range(120)
    ]
    path.write_text("\n".join([*lines[:3], *([bad_line] if bad_line else []), *lines[3:]]) + "\n", encoding="utf-8")
    return path


def replayed(path: Path, *, limit: int | None = None, mapping: str = "auto", ask_every: int = 10) -> dict[str, Any]:
    system = open_system(None, api_key="", seed=7)
    config = FeedConfig(ask_every=ask_every, n=3)
    return replay_file(path, system, config, mapping=mapping, limit=limit, seed=7, quiet=True)


def test_a_file_is_fed_whole_and_its_slates_scored(tmp_path: Path) -> None:
    document = replayed(write(tmp_path / "clicks.ndjson"))

    assert (document["format"], document["events"], document["items"]) == ("events", 120, 4)
    assert (document["bad_rows"], document["first_bad_rows"]) == (0, [])
    assert set(document["policies"]) == {"personal-1", "popularity-1"}
    n = [scores["n"] for scores in document["policies"].values()]
    assert n == [11, 11]  # of 114 events by users seen before
    assert document["slates"] == sum(n)
    assert document["slate_ms"] > 0
    json.dumps(document)


def test_the_same_file_and_seed_give_the_same_scores(tmp_path: Path) -> None:
    path = write(tmp_path / "clicks.ndjson")

    assert replayed(path)["policies"] == replayed(path)["policies"]


def test_a_bad_row_is_told_with_its_line_and_the_others_are_fed(tmp_path: Path) -> None:
    document = replayed(write(tmp_path / "clicks.ndjson", bad_line='{"event_type": "click"}'))

    assert (document["events"], document["bad_rows"]) == (120, 1)
    assert ":4: " in document["first_bad_rows"][0]


def test_no_more_than_the_limit_is_fed(tmp_path: Path) -> None:
    document = replayed(write(tmp_path / "clicks.ndjson"), limit=50, ask_every=0)

    assert (document["events"], document["slates"], document["slate_ms"]) == (50, 0, None)
    assert document["policies"] == {}


def test_a_format_that_does_not_exist_is_told_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--format: no format 'betamax'; there are auto, .*movielens"):
        replayed(write(tmp_path / "clicks.ndjson"), mapping="betamax")


def test_a_file_of_another_format_than_the_one_named_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="lacks"):
        replayed(write(tmp_path / "clicks.ndjson"), mapping="movielens")


def test_a_format_may_be_named_by_its_alias(tmp_path: Path) -> None:
    path = tmp_path / "sessions.csv"
    path.write_text("SessionId,ItemId,Time\n1,2,1700000000\n", encoding="utf-8")

    assert chosen_mapping(path, ChdbFiles(), "serenade").name == "rsc15"


def test_a_system_is_opened_by_url_or_here() -> None:
    assert isinstance(open_system(None, api_key="", seed=1), LocalSystem)
    assert isinstance(open_system("http://127.0.0.1:8700", api_key="", seed=1), HttpSystem)
    with pytest.raises(Rejected):
        open_system("nowhere", api_key="", seed=1)
