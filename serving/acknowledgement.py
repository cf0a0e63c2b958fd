"""Acknowledgement: what is told is answered once it is kept, what changes slates once every live worker applies it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from online.ports import Position, Unavailable

from .appender import Refused
from .contact import has_applied
from .problem import not_kept
from .spool import Spooled
from .worker import Worker

PATIENCE_S, LOOK_S = 1.0, 0.002


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Who applies a change, and who does not yet; `lagging` is None where that cannot be known.

    `position` is that of the change in its topic, or of a later one; None before this worker has applied it.
    """

    position: Position | None
    applied_by: list[str]
    lagging: list[str] | None

    @property
    def status(self) -> int:
        """The HTTP status: 200 once everybody applies it, else 202."""
        return 200 if self.lagging == [] else 202


async def acknowledged(worker: Worker, topic: str, is_applied: Callable[[], bool]) -> Acknowledgement:
    """Wait until every live worker applies a change that the log has, or a second has passed.

    Args:
        worker: where it was made.
        topic: of the change.
        is_applied: says whether this worker applies it.
    """
    until, me = time.monotonic() + PATIENCE_S, worker.contact.member
    while not is_applied():
        if worker.appender.is_log_away or time.monotonic() > until:
            return Acknowledgement(None, [], [me])  # it is in the spool, or this worker is behind
        await asyncio.sleep(LOOK_S)
    wanted = {topic: worker.follower.applied[topic]}
    while True:
        try:
            others = await asyncio.to_thread(worker.contact.others)
        except Unavailable:
            applied, lagging = {me}, None
        else:
            applied = {me, *(member for member, theirs in others.items() if has_applied(theirs, wanted))}
            lagging = sorted(others.keys() - applied)
        if lagging == [] or time.monotonic() > until:
            return Acknowledgement(wanted[topic], sorted(applied), lagging)
        await asyncio.sleep(LOOK_S)


async def keep(worker: Worker, messages: Sequence[Spooled]) -> None:
    """Return once all messages are kept.

    Raises:
        Problem: 503, they could not be kept.
    """
    try:
        await worker.appender.append(messages)
    except Refused as error:
        raise not_kept(error) from None
