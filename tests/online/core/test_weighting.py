from __future__ import annotations

import msgspec

from online.core.record import UserRecord
from online.core.weighting import evidence

RECORD = UserRecord(position="7", affinities=[{"a": [1.0, 1.0, 1.0]}, {}, {}, {}], hidden={"x": 1.0})


def test_hybrid_is_all_there_is() -> None:
    session = ["b", "c"]

    record, items = evidence("hybrid", RECORD, session)

    assert record is RECORD
    assert items is session


def test_by_session_the_record_is_as_it_was_but_for_its_affinities() -> None:
    record, items = evidence("session", RECORD, ["b"])

    assert items == ["b"]
    assert record == msgspec.structs.replace(RECORD, affinities=UserRecord().affinities)
    assert RECORD.affinities[0] != {}


def test_by_profile_the_session_is_empty() -> None:
    assert evidence("profile", RECORD, ["b"]) == (RECORD, [])
