"""Dead letters as API and command line handle them: list, look into, redrive, discard.

Reading is from the view (`online.core.letters`); what is decided goes to the topic `verdicts`, and the view carries it
out. So who is killed when does not matter: a verdict that is on the log will be carried out, once.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from online.core.catalogue import ITEM_DOCUMENT, Facets, facets
from online.core.dead_letter import VERDICTS, Action, Verdict, encode_verdict
from online.core.letters import LETTER, LETTER_BYTES, Letter, Status, decode_letter
from online.core.redrive import NotRedrivable, redriven
from online.ports import EventLog, StateStore

PAGE, MOST_DECIDED = 100, 1000
MOST_VERDICT_BYTES = 16 * 1024 * 1024  # that one call puts on the log
SHOWN_S, LOOK_S = 2.0, 0.02  # how long, and how often, the view is looked at for what was decided


class NoLetter(Exception):
    """There is no such letter, or it has left the view for the archive."""


class Decided(Exception):
    """The letter is not pending any more; the first verdict stands."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant; what is None does not matter.

    `reason` is a part of the reason's text in any case; `since` and `until` bound when it was found (epoch seconds).
    """

    topic: str | None = None
    partition: int | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    status: Status | None = None

    @property
    def is_empty(self) -> bool:
        """Say whether it means every letter, of whatever status."""
        return (self.topic, self.partition, self.reason, self.since, self.until) == (None,) * 5

    def takes(self, letter: Letter) -> bool:
        """Say whether a letter is meant.

        >>> Filter(reason="JSON").takes(Letter(1, "events", reason="json is malformed"))
        True
        """
        return (
            (self.topic is None or letter.topic == self.topic)
            and (self.partition is None or letter.partition == self.partition)
            and (self.reason is None or self.reason.lower() in letter.reason.lower())
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
            and (self.status is None or letter.status == self.status)
        )


class Page(NamedTuple):
    """Some letters by id, newest first; `cursor` asks for those before them, None when there are none."""

    letters: list[tuple[str, Letter]]
    cursor: int | None


@dataclass
class Outcome:
    """What became of a call: decided letters by id, refused ones with the reason, and how many more were meant.

    `is_shown` says whether the view has already carried out all that was decided.
    """

    decided: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    left: int = 0
    is_shown: bool = True


class DeadLetters:
    """The dead letters of one system. Every call may raise `Unavailable`."""

    def __init__(
        self, *, log: EventLog, state: StateStore, holdout: float = 0.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._log, self._state, self._holdout, self._clock = log, state, holdout, clock

    def page(self, which: Filter, *, limit: int = PAGE, cursor: int | None = None) -> Page:
        """Return the newest letters that are meant, those before `cursor`."""
        found = [(key, letter) for key, letter in self._all(which) if cursor is None or letter.number < cursor]
        found.sort(key=lambda entry: -entry[1].number)
        return Page(found[:limit], found[limit - 1][1].number if len(found) > limit else None)

    def show(self, key: str) -> tuple[Letter, bytes]:
        """Return a letter and its bytes.

        Raises:
            NoLetter: there is none of this id.
        """
        record, payload = self._state.get(0, LETTER, key), self._state.get(0, LETTER_BYTES, key)
        letter = None if record is None else decode_letter(record)
        if letter is None or payload is None:
            raise NoLetter("there is no such letter; older ones are in the archive, the table dead_letters")
        return letter, payload

    def redrive(self, key: str, *, by: str, edited: bytes | None = None, reason: str = "") -> Outcome:
        """Send a letter's message again, as it was or edited.

        Raises:
            NoLetter: there is none of this id.
            Decided: it is not pending.
            NotRedrivable: it still cannot be folded.
        """
        return self._append([self._redrive(key, by, edited, reason)])

    def discard(self, key: str, *, by: str, reason: str) -> Outcome:
        """Take a letter from the pending ones for good.

        Raises:
            NoLetter: there is none of this id.
            Decided: it is not pending.
        """
        self._pending(key)
        return self._append([self._verdict(key, "discard", by, reason)])

    def redrive_all(self, which: Filter, *, by: str, limit: int = MOST_DECIDED, reason: str = "") -> Outcome:
        """Redrive pending letters as they are, the oldest first; those that still cannot be folded stay pending."""
        return self._decide_all(which, limit, lambda key: self._redrive(key, by, None, reason))

    def discard_all(self, which: Filter, *, by: str, reason: str, limit: int = MOST_DECIDED) -> Outcome:
        """Discard pending letters, the oldest first."""
        return self._decide_all(which, limit, lambda key: self._verdict(key, "discard", by, reason))

    def _decide_all(self, which: Filter, limit: int, decide: Callable[[str], Verdict]) -> Outcome:
        meant = [(key, letter) for key, letter in self._all(which) if letter.action is None]
        meant.sort(key=lambda entry: entry[1].number)
        verdicts: list[Verdict] = []
        refused: dict[str, str] = {}
        looked, size = 0, 0
        for key, _ in meant:
            if len(verdicts) >= limit or size >= MOST_VERDICT_BYTES:
                break
            looked += 1
            try:
                verdicts.append(decide(key))
                size += len(verdicts[-1].payload)
            except (NotRedrivable, NoLetter, Decided) as error:  # the latter two: it has just gone
                refused[key] = str(error)
        outcome = self._append(verdicts)
        outcome.refused, outcome.left = refused, len(meant) - looked
        return outcome

    def _redrive(self, key: str, by: str, edited: bytes | None, reason: str) -> Verdict:
        letter, payload = self._pending(key)
        topic, message = redriven(key, letter, payload, edited, self._facets, self._holdout)
        verdict = self._verdict(key, "redrive", by, reason)
        verdict.topic, verdict.payload, verdict.is_edited = topic, message, edited is not None
        return verdict

    def _verdict(self, key: str, action: Action, by: str, reason: str) -> Verdict:
        return Verdict(letter=key, action=action, by=by, at=self._clock(), reason=reason)

    def _pending(self, key: str) -> tuple[Letter, bytes]:
        letter, payload = self.show(key)
        if letter.action is not None:
            raise Decided(f"it was {letter.status} by {letter.by}; the first verdict stands")
        return letter, payload

    def _append(self, verdicts: Sequence[Verdict]) -> Outcome:
        if verdicts:
            self._log.append(VERDICTS, [(0, encode_verdict(verdict)) for verdict in verdicts])
        keys = [verdict.letter for verdict in verdicts]
        return Outcome(keys, is_shown=self._are_shown(keys))

    def _are_shown(self, keys: Sequence[str]) -> bool:
        """Say whether the view has carried out all verdicts, waiting a moment for it."""
        until = time.monotonic() + SHOWN_S
        while True:
            records = self._state.get_many(0, LETTER, keys[-1:])  # verdicts are carried out in order
            if all(record is None or decode_letter(record).action is not None for record in records):
                return True
            if time.monotonic() > until:
                return False
            time.sleep(LOOK_S)

    def _all(self, which: Filter) -> Iterator[tuple[str, Letter]]:
        for key, record in self._state.scan(0, LETTER):
            letter = decode_letter(record)
            if letter.topic and which.takes(letter):
                yield key, letter

    def _facets(self, item_id: str) -> Facets:
        return facets(self._state.get(0, ITEM_DOCUMENT, item_id))


def described(key: str, letter: Letter) -> dict[str, Any]:
    """Return a letter in words; times are epoch seconds.

    >>> described("events:0:7", Letter(1, "events", 0, "7", "no JSON"))["status"]
    'pending'
    """
    verdict = {"by": letter.by, "at": letter.decided_at, "reason": letter.why, "edited": letter.is_edited}
    return {
        "id": key,
        "topic": letter.topic,
        "partition": letter.partition,
        "position": letter.position,
        "reason": letter.reason,
        "found_at": letter.at or None,
        "size": letter.size,
        "status": letter.status,
        "verdict": None if letter.action is None else verdict,
    }


def readable(payload: bytes) -> dict[str, str]:
    """Return bytes as text, or in base64 where they are none.

    >>> readable(b"{}"), readable(bytes([255]))
    ({'encoding': 'text', 'payload': '{}'}, {'encoding': 'base64', 'payload': '/w=='})
    """
    try:
        return {"encoding": "text", "payload": payload.decode()}
    except UnicodeDecodeError:
        return {"encoding": "base64", "payload": b64encode(payload).decode()}
