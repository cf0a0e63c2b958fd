"""Garbage: stored records of the state view that are gone for the fold, whether or not the store has forgotten them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from .expiry import EXPIRY_S, is_over, is_perishable
from .item_stats import decode_item_stats
from .partition import ITEM, USER
from .record import decode_record


def perishable(family: str, records: Mapping[str, bytes | None]) -> Collection[str]:
    """Return the keys of those of a family's records that a store may forget once they are gone.

    >>> perishable("item", {"a": b""}), perishable("item_document", {"a": b""})
    (dict_keys(['a']), [])
    """
    if family == ITEM:
        return records.keys()
    if family != USER:
        return []
    stored = {key: decode_record(payload) for key, payload in records.items() if payload is not None}
    return [key for key, record in stored.items() if is_perishable(record)]


def latest(family: str, records: Mapping[str, bytes]) -> float:
    """Return the latest `received_at` that a family's records know of, 0 for none: the fold's own clock.

    >>> from online.core.record import UserRecord, encode_record
    >>> latest("user", {"u1": encode_record(UserRecord(received=5.0)), "u2": encode_record(UserRecord(received=7.0))})
    7.0
    """
    return max((_received(family, payload) for payload in records.values()), default=0.0)


def kept(family: str, records: Mapping[str, bytes], now: float) -> dict[str, bytes]:
    """Return a family's records without those that are gone at `now`, and that a store may have forgotten.

    >>> from online.core.record import UserRecord, encode_record
    >>> kept("user", {"u1": encode_record(UserRecord(received=5.0))}, now=9.0 + EXPIRY_S)
    {}
    """
    return {key: payload for key, payload in records.items() if not is_over(_received(family, payload), now, EXPIRY_S)}


def _received(family: str, payload: bytes) -> float:
    """Return when a record was touched last; 0 for one that stays, or that no fold has left."""
    try:
        if family == ITEM:
            return decode_item_stats(payload).received
        if family == USER:
            record = decode_record(payload)
            return record.received if is_perishable(record) else 0.0
    except msgspec.MsgspecError:
        return 0.0
    return 0.0
