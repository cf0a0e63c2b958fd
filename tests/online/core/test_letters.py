from __future__ import annotations

import itertools
from typing import Any

import pytest

from online.core.dead_letter import DEAD, VERDICTS, DeadLetter, Verdict, encode_dead_letter, encode_verdict
from online.core.letters import LETTER, LETTER_BYTES, Letter, LettersFold, decode_letter, destination
from online.core.partition import EVENTS, partition_of
from online.ports import Batch, Message
from schemas.event import Event, encode_event
from schemas.identity import accept_merge, encode_identity

PARTITIONS = 4
GOOD = encode_event(Event(event_id="e", event_type="view", timestamp=5.0, received_at=5.0, user_id="42"))


def letter(number: int, payload: bytes = b"\xff poison") -> bytes:
    return encode_dead_letter(
        DeadLetter(topic=EVENTS, partition=1, position=f"p{number}", reason="why", payload=payload, at=7.0)
    )


def verdict(number: int, action: Any = "redrive", **fields: Any) -> bytes:
    given = {"topic": EVENTS, "payload": GOOD} if action == "redrive" else {"reason": "because"}
    return encode_verdict(Verdict(letter=f"events:1:p{number}", action=action, by="ann", at=9.0, **{**given, **fields}))


class View:
    """The fold and what a store would hold of it; restarted before each batch when asked."""

    def __init__(self, *, restarts: bool = False, **caps: int) -> None:
        self.records: dict[str, bytes] = {}
        self.payloads: dict[str, bytes] = {}
        self.sent: list[Any] = []
        self._restarts, self._caps, self._count = restarts, caps, itertools.count(1)
        self._fold = self._opened()

    def _opened(self) -> LettersFold:
        return LettersFold(self.records, partitions=PARTITIONS, **self._caps)

    def fold(self, topic: str, *payloads: bytes) -> None:
        if self._restarts:
            self._fold = self._opened()
        messages = [Message(f"{next(self._count):03d}", payload) for payload in payloads]
        folded = self._fold.fold(Batch(topic, 0, messages), 1)
        for kept, family in ((self.records, LETTER), (self.payloads, LETTER_BYTES)):
            for key, value in folded.writes[family].items():
                if value is None:
                    del kept[key]
                else:
                    kept[key] = value
        self.sent += folded.outbox

    @property
    def letters(self) -> dict[str, Letter]:
        return {key: decode_letter(value) for key, value in self.records.items()}


@pytest.mark.parametrize("restarts", [False, True])
def test_a_letter_is_pending_until_it_is_redriven_to_its_users_partition(restarts: bool) -> None:
    view = View(restarts=restarts)
    view.fold(DEAD, letter(1), letter(2))

    assert [(one.status, one.reason, one.at, one.size) for one in view.letters.values()] == [
        ("pending", "why", 7.0, 8)
    ] * 2
    assert view.payloads["events:1:p1"] == b"\xff poison"

    view.fold(VERDICTS, verdict(1))

    assert [one.status for one in view.letters.values()] == ["redriven", "pending"]
    assert view.sent == [(EVENTS, partition_of("u42", PARTITIONS), GOOD)]
    assert view.letters["events:1:p1"].by == "ann"


@pytest.mark.parametrize("restarts", [False, True])
def test_a_letter_sent_twice_is_one_and_stays_what_it_became(restarts: bool) -> None:
    view = View(restarts=restarts)
    for _ in range(2):
        view.fold(DEAD, letter(1))
        view.fold(VERDICTS, verdict(1, "discard"))

    assert [(one.status, one.why) for one in view.letters.values()] == [("discarded", "because")]
    assert view.sent == []


@pytest.mark.parametrize("restarts", [False, True])
def test_the_first_verdict_stands_and_a_second_sends_nothing(restarts: bool) -> None:
    other = encode_event(Event(event_id="e", event_type="view", timestamp=5.0, received_at=5.0, user_id="another"))
    view = View(restarts=restarts)
    view.fold(DEAD, letter(1))
    view.fold(VERDICTS, verdict(1))
    view.fold(VERDICTS, verdict(1, payload=other), verdict(1, "discard"), verdict(1))

    assert len(view.sent) == 1
    assert view.letters["events:1:p1"].status == "redriven"


@pytest.mark.parametrize("restarts", [False, True])
def test_folded_anew_a_verdict_may_come_before_its_letter(restarts: bool) -> None:
    view = View(restarts=restarts)
    view.fold(VERDICTS, verdict(1), verdict(1, "discard"))
    view.fold(DEAD, letter(1), letter(2))

    assert {key: one.status for key, one in view.letters.items()} == {
        "events:1:p1": "redriven",
        "events:1:p2": "pending",
    }
    assert view.payloads.keys() == view.records.keys()


def test_what_is_no_letter_and_no_verdict_is_a_letter_itself() -> None:
    view = View()
    view.fold(DEAD, b"\xff", letter(1))
    view.fold(VERDICTS, b"{}", verdict(1, payload=b"poison"), verdict(1, topic="updates"))

    assert [(key, one.status) for key, one in view.letters.items()] == [
        ("dead:0:001", "pending"),
        ("events:1:p1", "pending"),
        ("verdicts:0:003", "pending"),
        ("verdicts:0:004", "pending"),
        ("verdicts:0:005", "pending"),
    ]
    assert view.payloads["dead:0:001"] == b"\xff"
    assert view.sent == []


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("caps", [{"most_letters": 16}, {"most_bytes": 16 * 8}])
def test_beyond_the_caps_those_with_a_verdict_go_first_then_the_oldest(caps: dict[str, int], restarts: bool) -> None:
    view = View(restarts=restarts, **caps)
    view.fold(DEAD, *(letter(number) for number in range(16)))
    view.fold(VERDICTS, verdict(9, "discard"))
    view.fold(DEAD, letter(16))

    gone = {0, 1, 9}
    assert [one.position for one in view.letters.values()] == [f"p{n}" for n in range(17) if n not in gone]
    assert view.payloads.keys() == view.records.keys()


def test_a_merge_goes_back_to_the_visitors_partition() -> None:
    merge = accept_merge(user_id="7", visitor_id="abc", event_id="m", now=5.0)

    assert destination(EVENTS, encode_identity(merge), PARTITIONS) == partition_of("vabc", PARTITIONS)
