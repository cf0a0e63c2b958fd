from __future__ import annotations

import pytest

from online.core.record import TYPE_CODES, UserRecord
from online.core.rung import PERSONAL_ACTS, Evidence, acts_of, rung_of


@pytest.mark.parametrize(
    ("evidence", "rung", "why"),
    [
        (Evidence(PERSONAL_ACTS, 0, False, True, True), "personal", ""),
        (Evidence(PERSONAL_ACTS - 1, 0, False, True, True), "popularity", "no acts"),
        (Evidence(PERSONAL_ACTS - 1, 1, True, True, True), "session", "no acts"),
        (Evidence(0, 1, False, True, False), "session", "names no user"),
        (Evidence(0, 0, False, True, True, "store away"), "popularity", "store away"),
        (Evidence(0, 0, True, True, True), "audience", "no acts"),
        (Evidence(PERSONAL_ACTS, 1, True, False, True), "static", "no retriever"),
    ],
)
def test_the_strongest_evidence_answers_and_says_why_no_stronger_did(evidence: Evidence, rung: str, why: str) -> None:
    found, reason = rung_of(evidence)

    assert found == rung
    assert why in reason


@pytest.mark.parametrize(("event_type", "acts"), [("impression", 0), ("search", 0), ("view", 3), ("rating", 3)])
def test_what_tells_no_taste_is_no_act(event_type: str, acts: int) -> None:
    assert acts_of(UserRecord(counts={TYPE_CODES[event_type]: 3})) == acts
