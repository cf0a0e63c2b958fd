"""Weighting: which evidence of a user retrieval goes by on a surface, that of the session, of the profile, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .profile import Profile

Weighting = Literal["session", "profile", "hybrid"]


def evidence(weighting: Weighting, profile: Profile, session_items: Sequence[str]) -> tuple[Profile, Sequence[str]]:
    """Return what of a profile and of a session (item ids, oldest first) retrieval is to see.

    By session, affinities of the past do not count; by profile, items of the session do not. Where the one that counts
    is missing, the retrievers of what everybody likes answer, as they do for a new user.
    """
    if weighting == "session":
        return profile.without_past(), session_items
    return profile, [] if weighting == "profile" else session_items
