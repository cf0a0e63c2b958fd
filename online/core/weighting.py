"""Weighting: which evidence of a user retrieval goes by on a surface, that of the session, of the profile, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from .record import UserRecord

Weighting = Literal["session", "profile", "hybrid"]


def evidence(
    weighting: Weighting, record: UserRecord, session_items: Sequence[str]
) -> tuple[UserRecord, Sequence[str]]:
    """Return what of a record and of a session (item ids, oldest first) retrieval is to see.

    By session, affinities of the past do not count; by profile, items of the session do not. Where the one that counts
    is missing, the retrievers of what everybody likes answer, as they do for a new user.

    >>> record = UserRecord(affinities=[{"a": [1.0, 1.0, 1.0]}, {}, {}, {}])
    >>> evidence("session", record, ["b"])[0].affinities, evidence("profile", record, ["b"])[1]
    ([{}, {}, {}, {}], [])
    """
    if weighting == "session":
        return replace(record, affinities=UserRecord().affinities), session_items
    return record, [] if weighting == "profile" else session_items
