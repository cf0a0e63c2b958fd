from __future__ import annotations

import pytest

from online.core.expiry import EXPIRY_S, ITEM_EXPIRY_S
from online.core.garbage import kept, latest, perishable
from online.core.item_stats import ItemStats, encode_item_stats
from online.core.partition import ITEM, USER
from online.core.record import UserRecord, encode_record

NOW = 1_700_000_000.0
GONE = NOW - EXPIRY_S - 1.0
USERS = {
    "gone": encode_record(UserRecord(received=GONE)),
    "documented": encode_record(UserRecord(received=GONE, labels_time=1.0)),
    "there": encode_record(UserRecord(received=NOW)),
    "broken": b"?",
}
ITEMS = {
    "gone": encode_item_stats(ItemStats(received=NOW - ITEM_EXPIRY_S - 1.0)),
    "there": encode_item_stats(ItemStats(received=GONE)),
    "new": encode_item_stats(ItemStats(received=NOW)),
}


def test_what_is_gone_is_no_difference_but_what_stays_or_is_broken_is() -> None:
    assert kept(USER, USERS, NOW).keys() == {"documented", "there", "broken"}
    assert kept(ITEM, ITEMS, NOW).keys() == {"there", "new"}
    assert kept("item_document", ITEMS, NOW) == ITEMS


@pytest.mark.parametrize(("family", "records"), [(USER, USERS), (ITEM, ITEMS)])
def test_the_clock_is_the_latest_receipt(family: str, records: dict[str, bytes]) -> None:
    assert latest(family, records) == NOW
    assert latest(family, {}) == 0.0


def test_a_store_may_forget_records_without_a_document_and_item_aggregates() -> None:
    sound = {key: value for key, value in USERS.items() if key != "broken"}

    assert set(perishable(USER, {**sound, "deleted": None}).keys) == {"gone", "there"}
    assert perishable(ITEM, ITEMS) == (2 * ITEM_EXPIRY_S, ITEMS.keys())
