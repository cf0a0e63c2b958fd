from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., tuple[int, Any, str]]


def test_a_canary_is_started_paused_and_stopped(run: Run) -> None:
    words = ("--steps", "5,50,100", "--minutes", "30", "--tolerate", "click_rate=0.05", "--tolerate", "coverage=off")
    status, answer, _ = run("canary", "start", "home", "greedy-1", *words, "--because", "sharper")

    document = answer["document"]
    assert (status, answer["lagging"], document["state"]) == (0, [], "running")
    assert (document["steps"], document["minutes"], document["baseline"]) == ([0.05, 0.5, 1.0], 30, "personal-1")
    assert document["guardrails"] == {"errors": 0.01, "latency": 0.5, "click_rate": 0.05, "coverage": None}
    assert run("canary", "pause", "home")[1]["document"]["state"] == "paused"
    assert run("canary", "resume", "home")[1]["document"]["state"] == "running"
    assert run("canary", "stop", "home", "--because", "odd")[1]["document"]["why"] == "odd"
    shown = run("canary", "show", "home")[1]
    assert [done["reason"] for done in shown["changes"]] == ["sharper", "", "", "odd"]
    assert run("canary", "list")[1]["canaries"][0]["id"] == "home"


def test_promoted_the_candidate_is_the_surface_s_policy(run: Run) -> None:
    run("canary", "start", "home", "greedy-1")

    assert run("canary", "promote", "home")[1]["document"]["policy"] == "greedy-1"
    assert run("surfaces", "rollback", "home")[1]["document"]["policy"] == "personal-1"


@pytest.mark.parametrize("words", [("--steps", "a,b"), ("--tolerate", "click_rate"), ("--tolerate", "charm=0.1")])
def test_what_is_no_canary_is_told_in_one_line(run: Run, words: tuple[str, str]) -> None:
    status, document, err = run("canary", "start", "home", "greedy-1", *words)

    assert (status, document, len(err.splitlines())) == (2, None, 1)


def test_shadows_are_set_and_taken_away(run: Run) -> None:
    started = run("shadow", "start", "home", "greedy-1", "--share", "0.5")[1]
    run("shadow", "start", "home", "newton-1", "--model")

    assert started["document"]["shadow"] == [{"policy": "greedy-1", "model": None, "share": 0.5}]
    shadows = run("surfaces", "show", "home")[1]["document"]["shadow"]
    assert [one["policy"] or one["model"] for one in shadows] == ["greedy-1", "newton-1"]
    run("shadow", "stop", "home", "greedy-1")
    assert run("shadow", "stop", "home", "newton-1", "--model")[1]["document"]["shadow"] == []
    assert run("shadow", "show", "home")[0] == 2  # this API has no warehouse
