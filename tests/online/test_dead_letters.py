from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from flows.state import letters_view, state_view
from online.core.dead_letter import DEAD, VERDICTS, DeadLetter, decode_verdict, encode_dead_letter
from online.core.letters import LETTERS_VIEW
from online.core.partition import EVENTS, USER, partition_of
from online.core.record import decode_record
from online.core.redrive import NotRedrivable
from online.dead_letters import DeadLetters, Decided, Filter, NoLetter, Outcome
from online.ports import Unavailable
from replay.traffic import random_event
from schemas.event import encode_event

PARTITIONS, T0 = 2, 1_700_000_000.0


def event(number: int, **fields: Any) -> bytes:
    document = json.loads(encode_event(random_event(random.Random(number), T0 + number)))
    return json.dumps({**document, "event_id": f"e{number}", **fields}).encode()


class System:
    """The views of a state flow that are run when a test says so, and the dead letters over the same ports."""

    def __init__(self, log: Any, state: Any) -> None:
        self.log, self.state = log, state
        self.letters = DeadLetters(log=log, state=state, clock=lambda: T0 + 1e6)
        self.start()

    def start(self) -> None:
        self.views = [
            state_view(state=self.state, log=self.log, partitions=PARTITIONS),
            letters_view(state=self.state, log=self.log, partitions=PARTITIONS),
        ]
        for view in self.views:
            for partition in view.partitions:
                view.adopt(partition)
        self.after = {key: position for view in self.views for key, position in view.positions().items()}

    def run(self) -> None:
        while batches := self.log.port.read(self.after, max_messages=50, wait_s=0.0):
            for batch in batches:
                self.after[batch.topic, batch.partition] = batch.messages[-1].position
                for view in self.views:
                    if batch.topic in view.topics:
                        view.step(batch)()

    def bury(self, *payloads: bytes, reason: str = "why", at: float = T0, topic: str = EVENTS) -> None:
        for payload in payloads:
            (position,) = self.log.port.append(EVENTS, [(0, b"poison")]) if topic == EVENTS else ["7"]
            letter = DeadLetter(topic=topic, partition=0, position=position, reason=reason, payload=payload, at=at)
            self.log.port.append(DEAD, [(0, encode_dead_letter(letter))])
        self.run()

    def ids(self, **which: Any) -> list[str]:
        return [key for key, _ in self.letters.page(Filter(**which)).letters]

    def counted(self, user: str) -> int:
        record = self.state.get(partition_of(f"u{user}", PARTITIONS), USER, f"u{user}")
        return 0 if record is None else sum(decode_record(record).counts.values())

    def verdicts(self) -> list[Any]:
        batches = self.log.port.read({(VERDICTS, 0): ""}, max_messages=9999, wait_s=0.0)
        return [decode_verdict(message.payload) for batch in batches for message in batch.messages]


@pytest.fixture
def system(switched_log: Any, switched_state: Any, monkeypatch: pytest.MonkeyPatch) -> System:
    monkeypatch.setattr("online.dead_letters.SHOWN_S", 0.0)  # the views run only when a test says so
    return System(switched_log, switched_state)


def test_poison_becomes_a_letter_with_its_bytes(system: System) -> None:
    system.log.port.append(EVENTS, [(0, event(1)), (0, b"\xff poison")])
    system.run()

    ((key, letter),) = system.letters.page(Filter()).letters
    assert system.letters.show(key) == (letter, b"\xff poison")
    assert (letter.status, letter.topic, letter.partition) == ("pending", EVENTS, 0)


def test_letters_are_listed_newest_first_page_by_page(system: System) -> None:
    system.bury(*(event(number) for number in range(7)))
    everything = system.ids()

    pages, cursor = [], None
    while True:
        page = system.letters.page(Filter(), limit=3, cursor=cursor)
        pages.append([key for key, _ in page.letters])
        cursor = page.cursor
        if cursor is None:
            break
    assert pages == [everything[:3], everything[3:6], everything[6:]]
    assert everything == sorted(everything, reverse=True)


def test_filters_narrow_what_is_meant(system: System) -> None:
    system.bury(event(1), reason="JSON is malformed", at=T0)
    system.bury(event(2), reason="unknown event_type", at=T0 + 10)
    system.bury(event(3), reason="unknown event_type", at=T0 + 20, topic="shop.clicks")
    third, second, first = system.ids()

    assert system.ids(reason="json") == [first]
    assert system.ids(topic="shop.clicks") == [third]
    assert system.ids(since=T0 + 10, until=T0 + 20) == [second]
    assert system.ids(partition=1) == []
    system.letters.discard(first, by="ann", reason="a test")
    system.run()
    assert system.ids(status="pending") == [third, second]
    assert system.ids(status="discarded") == [first]


def test_a_redriven_event_counts_once_however_often_it_is_sent(system: System) -> None:
    fixed = {"event_type": "view", "user_id": "7", "item_id": "a"}
    system.bury(b"{ broken")
    (key,) = system.ids()

    for _ in range(3):  # the flow is slow: nobody sees yet that it was decided
        assert not system.letters.redrive(key, by="ann", edited=json.dumps(fixed).encode()).is_shown
    other = {**fixed, "user_id": "8"}
    system.letters.redrive(key, by="bob", edited=json.dumps(other).encode())
    system.run()

    assert (system.counted("7"), system.counted("8")) == (1, 0)
    assert system.letters.show(key)[0].by == "ann"
    assert len(system.verdicts()) == 4  # all are kept, the first stands
    with pytest.raises(Decided, match="redriven by ann"):
        system.letters.redrive(key, by="bob")
    with pytest.raises(Decided):
        system.letters.discard(key, by="bob", reason="late")


@pytest.mark.parametrize("at", ["before its commit", "between commit and sending"])
def test_a_flow_killed_in_the_middle_of_a_redrive_loses_nothing_and_doubles_nothing(system: System, at: str) -> None:
    system.bury(event(1, event_type="view", user_id="7"))
    system.letters.redrive(system.ids()[0], by="ann")
    (batch,) = system.log.port.read({(VERDICTS, 0): ""}, max_messages=10, wait_s=0.0)
    commit = system.views[1].step(batch)
    if at == "between commit and sending":
        system.log.fail_times = 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("flows.view.time.sleep", _killed)
            with pytest.raises(KeyboardInterrupt):
                commit()
    system.start()
    system.run()
    system.start()  # sends the outbox of the last commit again
    system.run()

    assert system.counted("7") == 1
    assert system.ids(status="pending") == []


def _killed(seconds: float) -> None:
    raise KeyboardInterrupt


def test_many_are_redriven_as_they_are_and_those_that_cannot_be_stay_pending(system: System) -> None:
    system.bury(event(1, user_id="7"), b"{ broken", event(2, user_id="7"), event(3, user_id="7"))
    newest, third, broken, first = system.ids()
    outcome = system.letters.redrive_all(Filter(topic=EVENTS), by="ann", limit=2)

    assert (outcome.decided, list(outcome.refused), outcome.left) == ([first, third], [broken], 1)
    assert "truncated" in outcome.refused[broken] or "malformed" in outcome.refused[broken]
    system.run()
    assert system.counted("7") == 2
    assert system.ids(status="pending") == [newest, broken]


def test_many_are_discarded_with_who_and_why(system: System) -> None:
    system.bury(b"1", b"2", b"3", reason="scanner")
    system.bury(b"4", reason="other")
    outcome = system.letters.discard_all(Filter(reason="scanner"), by="key 1f", reason="noise", limit=2)

    assert (len(outcome.decided), outcome.left) == (2, 1)
    system.run()
    assert len(system.ids(status="discarded")) == 2
    assert {(said.by, said.reason, said.at) for said in system.verdicts()} == {("key 1f", "noise", T0 + 1e6)}


def test_one_call_puts_a_bounded_number_of_bytes_on_the_log(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("online.dead_letters.MOST_VERDICT_BYTES", 500)
    system.bury(*(event(number, properties={"a": "x" * 300}) for number in range(5)))
    outcome = system.letters.redrive_all(Filter(), by="ann")

    assert 0 < len(outcome.decided) < 5
    assert outcome.left == 5 - len(outcome.decided)


@pytest.mark.parametrize(
    "call",
    [
        lambda letters: letters.show("events:0:none"),
        lambda letters: letters.redrive("events:0:none", by="ann"),
        lambda letters: letters.discard("events:0:none", by="ann", reason="r"),
    ],
)
def test_a_letter_that_is_not_there_is_told(system: System, call: Callable[[DeadLetters], Any]) -> None:
    with pytest.raises(NoLetter, match="archive"):
        call(system.letters)


def test_a_refused_redrive_decides_nothing(system: System) -> None:
    system.bury(b"\xff")
    (key,) = system.ids()

    with pytest.raises(NotRedrivable):
        system.letters.redrive(key, by="ann")
    assert (system.verdicts(), system.ids(status="pending")) == ([], [key])


def test_a_log_that_is_away_leaves_the_letter_pending(system: System) -> None:
    system.bury(event(1))
    (key,) = system.ids()
    system.log.is_off = True

    with pytest.raises(Unavailable):
        system.letters.redrive(key, by="ann")
    system.log.is_off = False
    assert system.ids(status="pending") == [key]


def test_nothing_meant_is_nothing_done(system: System) -> None:
    assert system.letters.redrive_all(Filter(), by="ann") == Outcome()


def test_the_view_is_its_own(system: System) -> None:
    assert system.views[1].name == LETTERS_VIEW
