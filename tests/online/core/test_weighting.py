from __future__ import annotations

import pytest

from online.core.item_table import ItemTable
from online.core.profile import Profile
from online.core.record import Touch, UserRecord
from online.core.weighting import evidence


@pytest.fixture
def profile() -> Profile:
    table = ItemTable(1)
    table.row("a")
    record = UserRecord(affinities=[{"a": [1.0] * 3}, {}, {}, {}], recent=[Touch(0.0, "a", 2, 0)], hidden={"x": 1})
    return Profile.of(table, record, now=9.0)


def test_hybrid_is_all_there_is(profile: Profile) -> None:
    session = ["b", "c"]

    leaned, items = evidence("hybrid", profile, session)

    assert leaned is profile
    assert items is session


def test_by_session_the_profile_is_as_it_was_but_for_its_affinities(profile: Profile) -> None:
    leaned, items = evidence("session", profile, ["b"])

    assert items == ["b"]
    assert [len(part) for part in leaned.affinities[:3]] == [0, 0, 0]
    assert leaned.affinities.bounds.tolist() == [0] * 5
    assert leaned.record is profile.record
    assert leaned.touches == profile.touches
    assert len(profile.affinities.codes) == 1


def test_by_profile_the_session_is_empty(profile: Profile) -> None:
    assert evidence("profile", profile, ["b"]) == (profile, [])
