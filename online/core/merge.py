"""A visitor becomes a user: what the two records say together.

Adding forward weights commutes (`online.core.decay`), so it does not matter whether events were folded into one record
or into two that are then united, as long as no cap is hit.
"""

from __future__ import annotations

from operator import itemgetter
from struct import Struct

from .controls import united
from .preference_step import forget_all
from .record import ID_BYTES, UserRecord, decode_record, encode_record
from .session import hash64, united_sessions
from .shown import add_showings
from .step import DISORDER_S, FoldConfig, keep_latest, keep_strongest, keep_tail, rebase_record

DEFAULT_CONFIG = FoldConfig()

_ENTRY = Struct(f"<{ID_BYTES}sI")


def absorb(user: UserRecord, visitor: UserRecord, merge_id: str, config: FoldConfig) -> bool:
    """Take a visitor's record into the user's, in place; say whether it was taken, which happens once.

    The user's labels stand. Where the user refuses, what the visitor did is not taken, only what it has hidden.
    `visitor` is used up: the two must not be the same record.
    """
    merge = hash64(merge_id)
    if merge in user.absorbed:
        return False
    user.controls = united(user.controls, visitor.controls)
    user.absorbed.append(merge)
    if user.controls is not None and user.controls.consent is False:
        forget_all(user)
    if user.controls is not None and user.controls.refusal:
        _absorb_marks(user, UserRecord(hidden=visitor.hidden), config)
        return True
    _absorb_affinities(user, visitor, config)
    _absorb_touches(user, visitor, config)
    _absorb_marks(user, visitor, config)
    for code, count in visitor.counts.items():
        user.counts[code] = user.counts.get(code, 0) + count
    if visitor.context_time > user.context_time:
        user.context, user.context_time = visitor.context, visitor.context_time
    user.last_time = max(user.last_time, visitor.last_time)
    user.received = max(user.received, visitor.received)
    user.dropped_late += visitor.dropped_late
    user.clamped += visitor.clamped
    user.pace = max(user.pace, visitor.pace)
    user.robot_until = max(user.robot_until, visitor.robot_until)
    user.dedup = _united(user.dedup, visitor.dedup, config)
    return True


def merged(user: UserRecord, visitor: UserRecord, config: FoldConfig = DEFAULT_CONFIG) -> UserRecord:
    """Return the user's record as it will be once it has taken over the visitor's; both stay as they are.

    >>> from online.core.record import Forward
    >>> merged(UserRecord(counts={2: 1}), UserRecord(counts={2: 3}, forward=Forward("7", 5.0, "7", "0:1"))).counts
    {2: 4}
    """
    together = decode_record(encode_record(user))
    if visitor.forward is not None:
        absorb(together, decode_record(encode_record(visitor)), visitor.forward.merge_id, config)
    return together


def is_awaited(user: UserRecord | None, user_id: str, visitor: UserRecord) -> bool:
    """Say whether the user is to take over the visitor's record and has not yet."""
    forward = visitor.forward
    if forward is None or forward.absorbed_by != user_id:
        return False
    return user is None or hash64(forward.merge_id) not in user.absorbed


def known_together(user: UserRecord | None, user_id: str, visitor: UserRecord | None) -> UserRecord | None:
    """Return what is known of a user whose request names a visitor as well.

    Only a merge says that the two are one: without it, the user's record alone counts.

    >>> known_together(None, "7", UserRecord(counts={2: 3})) is None
    True
    """
    if visitor is None or not is_awaited(user, user_id, visitor):
        return user
    return merged(user or UserRecord(), visitor)


def _absorb_affinities(user: UserRecord, visitor: UserRecord, config: FoldConfig) -> None:
    landmark = max(user.landmark, visitor.landmark)
    for record in (user, visitor):
        if record.landmark < landmark:
            rebase_record(record, landmark, config.decay)
    caps = config.caps
    sizes = (caps.item, caps.category, caps.brand, caps.price_tier, caps.withdrawn)
    tables, others = ((*record.affinities, record.withdrawn) for record in (user, visitor))
    for mine, theirs, cap in zip(tables, others, sizes, strict=True):
        for key, weights in theirs.items():
            known = mine.get(key)
            mine[key] = weights if known is None else [a + b for a, b in zip(known, weights, strict=True)]
        if len(mine) > cap:
            keep_strongest(mine, cap)


def _absorb_touches(user: UserRecord, visitor: UserRecord, config: FoldConfig) -> None:
    if visitor.recent and (not user.recent or visitor.recent[-1] > user.recent[-1]):
        user.session_key = visitor.session_key
    user.recent = sorted(user.recent + visitor.recent)
    user.__dict__.clear()  # `tail` is another
    keep_tail(user, config)
    user.sessions = united_sessions(user.sessions, visitor.sessions)


def _absorb_marks(user: UserRecord, visitor: UserRecord, config: FoldConfig) -> None:
    caps = config.caps
    for mine, theirs, cap in (
        (user.seen, visitor.seen, caps.seen),
        (user.carted, visitor.carted, caps.carted),
        (user.purchased, visitor.purchased, caps.purchased),
        (user.hidden, visitor.hidden, caps.hidden),
    ):
        for item, time in theirs.items():
            if abs(time) > abs(mine.get(item, 0)):
                mine[item] = time
        keep_latest(mine, cap)
    for item, times in visitor.shown.items():
        add_showings(user.shown, [item], times, caps.shown)


def _united(mine: bytearray, theirs: bytearray, config: FoldConfig) -> bytearray:
    """Return the event ids of both, oldest first, those within the horizon of the newest, at most as many as kept."""
    received: dict[bytes, int] = {}
    for table in (mine, theirs):
        for key, time in _ENTRY.iter_unpack(table):
            received[key] = max(time, received.get(key, 0))
    oldest = max(received.values(), default=0) - config.dedup_horizon_s - DISORDER_S
    kept = [(key, time) for key, time in sorted(received.items(), key=itemgetter(1)) if time >= oldest]
    return bytearray(b"".join(_ENTRY.pack(key, time) for key, time in kept[-config.caps.dedup :]))
