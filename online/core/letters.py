"""The view of dead letters: which there are, which are pending, and what became of the others.

The first verdict on a letter stands. A redrive is carried out by the commit that takes the letter from the pending
ones: its message is in that commit's outbox, so whatever is killed in between, it is sent, and counts once by its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from online.ports import Batch
from schemas.event import decode_event
from schemas.identity import IDENTITY_TYPES, Merge, decode_identity
from schemas.user import decode_user

from .catalogue import ITEMS
from .checkpoint import Folded, Outgoing
from .dead_letter import DEAD, VERDICTS, Action, DeadLetter, Verdict, decode_dead_letter, decode_verdict, letter_of
from .partition import EVENTS, USERS, partition_of

LETTERS_VIEW = "dead_letters"  # one partition
LETTER, LETTER_BYTES = "dead_letter", "dead_letter_bytes"  # families, both by letter id
REDRIVEN_TO = (EVENTS, USERS, ITEMS)
"""The topics a letter can be redriven to; what our own processes write to the others is made anew by a rebuild."""
MOST_LETTERS, MOST_LETTER_BYTES = 50_000, 128 * 1024 * 1024
Status = Literal["pending", "redriven", "discarded"]
_STATUS: dict[Action, Status] = {"redrive": "redriven", "discard": "discarded"}


class Letter(msgspec.Struct, array_like=True):
    """What the view keeps of a letter beside its bytes. One known by its verdict only has no topic."""

    number: int  # counts the letters as they arrived
    topic: str = ""
    partition: int = 0
    position: str = ""
    reason: str = ""
    at: float = 0.0
    size: int = 0
    kept: int = 0  # bytes; fewer than `size` when the message was larger than what a letter holds
    action: Action | None = None
    by: str = ""
    decided_at: float = 0.0
    why: str = ""
    is_edited: bool = False

    @property
    def status(self) -> Status:
        """What became of it."""
        return "pending" if self.action is None else _STATUS[self.action]


encode_letter = msgspec.msgpack.Encoder().encode
decode_letter = msgspec.msgpack.Decoder(Letter).decode


class LettersFold:
    """Folds dead letters and verdicts, in any order between the two topics; `stored` is the family `LETTER`.

    Beyond the caps the oldest go, those with a verdict first; the archive keeps all.
    """

    topics = (DEAD, VERDICTS)

    def __init__(
        self,
        stored: Mapping[str, bytes],
        *,
        partitions: int,
        most_letters: int = MOST_LETTERS,
        most_bytes: int = MOST_LETTER_BYTES,
    ) -> None:
        letters = {key: decode_letter(value) for key, value in stored.items()}
        self._letters = dict(sorted(letters.items(), key=lambda entry: entry[1].number))
        self._bytes = sum(letter.kept for letter in letters.values())
        self._number = max((letter.number for letter in letters.values()), default=0)
        self._partitions, self._most_letters, self._most_bytes = partitions, most_letters, most_bytes
        self._changed: dict[str, bytes | None] = {}
        self._payloads: dict[str, bytes | None] = {}

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch of letters or verdicts; what is redriven is in the outbox."""
        self._changed, self._payloads = {}, {}
        outbox: list[Outgoing] = []
        for message in batch.messages:
            try:
                if batch.topic == DEAD:
                    self._file(decode_dead_letter(message.payload))
                else:
                    outbox += self._decide(decode_verdict(message.payload))
            except msgspec.MsgspecError as error:
                # It is no letter and no verdict, and kept like all others; of when it was read, a fold knows nothing.
                self._file(letter_of(batch, message, str(error)))
        self._evict()
        return Folded({LETTER: self._changed, LETTER_BYTES: self._payloads}, outbox)

    def _file(self, dead: DeadLetter) -> None:
        letter = self._letters.get(dead.id)
        if letter is None:
            letter = self._new(dead.id)
        elif letter.topic:
            return  # it was sent twice
        letter.topic, letter.partition, letter.position = dead.topic, dead.partition, dead.position
        letter.reason, letter.at = dead.reason, dead.at
        letter.size, letter.kept = dead.size or len(dead.payload), len(dead.payload)
        self._bytes += letter.kept
        self._changed[dead.id], self._payloads[dead.id] = encode_letter(letter), dead.payload

    def _decide(self, verdict: Verdict) -> list[Outgoing]:
        known = self._letters.get(verdict.letter)
        if known is not None and known.action is not None:
            return []
        outbox: list[Outgoing] = []
        if verdict.action == "redrive":
            at = destination(verdict.topic, verdict.payload, self._partitions)
            outbox.append((verdict.topic, at, verdict.payload))
        letter = known or self._new(verdict.letter)
        letter.action, letter.by, letter.decided_at = verdict.action, verdict.by, verdict.at
        letter.why, letter.is_edited = verdict.reason, verdict.is_edited
        self._changed[verdict.letter] = encode_letter(letter)
        return outbox

    def _new(self, key: str) -> Letter:
        self._number += 1
        letter = self._letters[key] = Letter(self._number)
        return letter

    def _evict(self) -> None:
        """Drop an eighth more than is needed, so that a full view is not sorted again at every letter."""
        if len(self._letters) <= self._most_letters and self._bytes <= self._most_bytes:
            return
        left, size = self._most_letters - self._most_letters // 8, self._most_bytes - self._most_bytes // 8
        oldest = sorted(self._letters.items(), key=lambda entry: (entry[1].action is None, entry[1].number))
        for key, letter in oldest:
            if len(self._letters) <= left and self._bytes <= size:
                return
            del self._letters[key]
            self._bytes -= letter.kept
            self._changed[key] = self._payloads[key] = None


def destination(topic: str, payload: bytes, partitions: int) -> int:
    """Return the partition a message is redriven to.

    Raises:
        msgspec.MsgspecError: it is no message of the topic, or the topic takes none back.

    >>> destination("users", b'{"user_id": "42", "updated_at": 0}', 4)
    2
    """
    if topic == ITEMS:
        return 0
    if topic == USERS:
        return partition_of(f"u{decode_user(payload).user_id}", partitions)
    if topic != EVENTS:
        raise msgspec.ValidationError(f"nothing is redriven to the topic {topic!r}")
    event = decode_event(payload)
    if event.event_type not in IDENTITY_TYPES:
        return partition_of(event.user_key, partitions)
    identity = decode_identity(payload)
    return partition_of(identity.visitor_key if isinstance(identity, Merge) else identity.target_key, partitions)
