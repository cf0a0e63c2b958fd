"""Garbage: stored records of the state view that are gone for the fold, whether or not the store has forgotten them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from online.ports import Perishable

from .expiry import EXPIRY_S, ITEM_EXPIRY_S, is_over, is_perishable
from .item_stats import decode_item_stats
from .partition import ITEM, USER
from .record import decode_record

_EXPIRY_S = {USER: EXPIRY_S, ITEM: ITEM_EXPIRY_S}


def perishable(family: str, records: Mapping[str, bytes | None]) -> Perishable:
    """Return those of a family's records that a store may forget once they are gone, and when.

    >>> perishable("item", {"a": b""}).keys, perishable("item_document", {"a": b""}).keys
    (dict_keys(['a']), [])
    """
    ttl_s = 2 * _EXPIRY_S.get(family, 0)
    if family == ITEM:
        return Perishable(ttl_s, records.keys())
    if family != USER:
        return Perishable(ttl_s, [])
    stored = {key: decode_record(payload) for key, payload in records.items() if payload is not None}
    return Perishable(ttl_s, [key for key, record in stored.items() if is_perishable(record)])


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
    expiry_s = _EXPIRY_S.get(family, 0)
    return {key: payload for key, payload in records.items() if not is_over(_received(family, payload), now, expiry_s)}


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
