"""The ladder: which evidence answers a request, and why it is not a stronger one. Its thresholds are declared here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .record import TYPE_CODES, UserRecord

Rung = Literal["personal", "session", "audience", "popularity", "static"]

PERSONAL_ACTS = 1
"""Acts in the record that make an answer personal: one moves a slate, and is forgotten as it fades."""

_NO_ACTS = frozenset(TYPE_CODES[name] for name in ("impression", "search", "custom"))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of who asks: `acts` of the record on items, items of the session, whether others are known who
    share a label or a value of context, and whether anything was found.

    `degraded` says why the record could not be read, empty when it could; `is_named` whether the request names anybody;
    `late` why there was no time for more than what everybody likes, empty when there was; `refusal` why nothing
    personal is wanted, empty when it is.
    """

    acts: int
    session_items: int
    is_shared: bool
    is_found: bool
    is_named: bool
    degraded: str = ""
    late: str = ""
    refusal: str = ""


def acts_of(record: UserRecord) -> int:
    """Return how many events on items the record has seen; being shown something is no act, and tells no taste.

    >>> acts_of(UserRecord(counts={TYPE_CODES["impression"]: 9, TYPE_CODES["click"]: 2}))
    2
    """
    return sum(count for code, count in record.counts.items() if code not in _NO_ACTS)


def rung_of(evidence: Evidence) -> tuple[Rung, str]:
    """Return the rung that answers, and why it is not the personal one; empty when it is.

    >>> rung_of(Evidence(acts=0, session_items=2, is_shared=False, is_found=True, is_named=True))
    ('session', 'no acts of this user yet')
    """
    if not evidence.is_found:
        return "static", evidence.degraded or evidence.late or "no retriever found anything that may be shown"
    if evidence.late:
        return "popularity", evidence.late
    if evidence.acts >= PERSONAL_ACTS:
        return "personal", ""
    why = (
        evidence.degraded
        or evidence.refusal
        or ("no acts of this user yet" if evidence.is_named else "the request names no user")
    )
    if evidence.session_items:
        return "session", why
    return ("audience" if evidence.is_shared else "popularity"), why
