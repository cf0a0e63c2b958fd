from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.cli import main
from serving.user_token import verified

Run = Callable[..., tuple[int, Any, str]]
SECRET = "s" * 32


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json in an own data directory; return exit status, document and stderr."""
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))

    def run(*words: str) -> tuple[int, Any, str]:
        monkeypatch.setattr(sys, "argv", ["headrace", "keys", *words, "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), json.loads(out) if out else None, err

    return run


def test_a_key_is_made_listed_and_revoked(run: Run) -> None:
    status, made, said = run(
        "create", "shop", "--scope", "read", "--scope", "ingest", "--expires", "90d", "--rate", "5", "--tenant", "t-1"
    )
    assert (status, made["scopes"], made["tenant"], made["burst"]) == (0, ["ingest", "read"], "t-1", 5)
    assert made["expires_at"] - made["created_at"] == 90 * 86_400
    assert "not shown again" in said

    listed = run("list")[1]["keys"]
    assert listed == [{name: value for name, value in made.items() if name != "key"}]

    assert run("revoke", made["id"])[1]["status"] == "revoked"
    assert run("list")[1]["keys"][0]["status"] == "revoked"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("create", "shop", "--scope", "write"), "scopes are admin, ingest, read or page, not write"),
        (("create", "shop", "--scope", "page", "--scope", "read"), "everybody can read the key of a page"),
        (("create", "shop"), "Missing option '--scope'"),
        (("create", "shop", "--scope", "read", "--expires", "1970-01-02"), "that moment has passed"),
        (("create", "shop", "--scope", "read", "--expires", "soon"), "RFC 3339"),
        (("create", "shop", "--scope", "read", "--burst", "5"), "a burst needs a rate"),
        (("revoke", "shop"), "no keys of that id or name count"),
        (("token", "7"), "HEADRACE_USER_TOKEN_KEY is not set"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(run: Run, words: tuple[str, ...], complaint: str) -> None:
    status, document, said = run(*words)

    assert (status, document) == (2, None)
    assert complaint in said
    assert said.count("\n") == 1


def test_a_user_token_is_signed_by_the_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_USER_TOKEN_KEY", SECRET)

    document = run("token", "7", "--expires", "12h")[1]

    assert verified(document["token"], SECRET.encode(), now=document["expires_at"] - 1.0) == "7"
