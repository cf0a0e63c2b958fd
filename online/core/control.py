"""The control view: by document that says how the system is to behave, its versions and what was done to it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from online.ports import Batch
from schemas.control import ControlChange, decode_change

from .checkpoint import Folded, Outgoing
from .dead_letter import dead_letter
from .partition import Load

CONTROL = "control"  # topic, one partition
CONTROL_VIEW = "control"
CONTROL_ENTRY = "control_entry"  # family
MOST_VERSIONS = MOST_DONE = 16  # kept of a document: to roll back to, and to look at

Action = Literal["put", "delete", "rollback"]


class Version(msgspec.Struct, array_like=True, frozen=True):
    """One version of a document, counted from 1; of one that was taken away there is no `document`."""

    number: int
    document: dict[str, Any] | None


class Done(msgspec.Struct, array_like=True, frozen=True):
    """A change that was made: what, by whom, when and why, and the number of the version that was current behind it.

    That number is 0 where no version was left.
    """

    revision: int
    action: Action
    number: int
    by: str
    at: float
    reason: str = ""


class ControlEntry(msgspec.Struct, array_like=True, frozen=True):
    """What is kept of a document. `versions` are those that were current one after the other, the last one is now."""

    revision: int = 0
    newest: int = 0  # number of the last version that was written
    versions: tuple[Version, ...] = ()
    done: tuple[Done, ...] = ()

    @property
    def current(self) -> Version | None:
        """The version that counts, None before the first."""
        return self.versions[-1] if self.versions else None


encode_entry = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ControlEntry).decode


def decode_entry(payload: bytes | None) -> ControlEntry:
    """Return the stored entry, or the one before the first change.

    >>> decode_entry(None).revision
    0
    """
    return ControlEntry() if payload is None else _decode(payload)


def entry_key(kind: str, document_id: str) -> str:
    """Return the key of a document in the view.

    >>> entry_key("policy", "personal-1")
    'policy/personal-1'
    """
    return f"{kind}/{document_id}"


def changed(entry: ControlEntry, change: ControlChange) -> ControlEntry:
    """Return the entry behind a change; the same object when the change counts for nothing.

    A rollback leaves the version that was current before, so that a second one goes back further; a version that is
    written later has a number of its own.

    >>> put = lambda n: ControlChange(kind="policy", id="p", revision=n, document={"tau": n})
    >>> back = ControlChange(kind="policy", id="p", revision=3, is_rollback=True)
    >>> entry = changed(changed(changed(ControlEntry(), put(1)), put(2)), back)
    >>> entry.current, changed(entry, put(4)).current
    (Version(number=1, document={'tau': 1}), Version(number=3, document={'tau': 4}))
    >>> changed(entry, put(2)) is entry
    True
    """
    if change.revision != entry.revision + 1:
        return entry
    newest, versions = entry.newest, entry.versions
    if change.is_rollback:
        action: Action = "rollback"
        versions = versions[:-1]
    else:
        action = "delete" if change.document is None else "put"
        newest += 1
        versions = (*versions, Version(newest, change.document))[-MOST_VERSIONS:]
    is_left = bool(versions) and versions[-1].document is not None
    number = versions[-1].number if is_left else 0
    done = Done(change.revision, action, number, change.by, change.at, change.reason)
    return replace(
        entry, revision=change.revision, newest=newest, versions=versions, done=(*entry.done, done)[-MOST_DONE:]
    )


class ControlFold:
    """Folds the control topic. What a document means is read where it is used: the view keeps all kinds alike."""

    topics = (CONTROL,)

    def __init__(self, load: Load) -> None:
        self._load = load
        self._entries: dict[str, ControlEntry] = {}  # a commit may come behind the fold of the next batch

    def fold(self, batch: Batch, seq: int) -> Folded:
        """Fold a batch of changes."""
        written: dict[str, bytes | None] = {}
        outbox: list[Outgoing] = []
        for message in batch.messages:
            try:
                change = decode_change(message.payload)
            except msgspec.MsgspecError as error:
                outbox.append(dead_letter(batch, message, str(error)))
                continue
            key = entry_key(change.kind, change.id)
            entry = self._entries[key] = changed(self._entry(key), change)
            written[key] = encode_entry(entry)
        return Folded({CONTROL_ENTRY: written}, outbox)

    def _entry(self, key: str) -> ControlEntry:
        if key not in self._entries:
            self._entries[key] = decode_entry(self._load(CONTROL_ENTRY, [key])[0])
        return self._entries[key]
