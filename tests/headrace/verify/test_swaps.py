from __future__ import annotations

import msgspec
import numpy as np
import pytest

from headrace.verify.published import Edition
from headrace.verify.swaps import Outcome, complaint_about, verify_swaps
from online.core.item_table import ItemTable
from online.core.policy_document import DEFAULT_POLICY, POLICIES
from online.core.record import UserRecord
from online.core.slate_features import packed_features, slate_features
from online.pipeline import SlateRequest, recommend
from online.world import World
from schemas.item import Item
from schemas.slate import Slate

IDS = [f"i{n}" for n in range(200)]


@pytest.mark.parametrize("wrong", ["errors", "wrong", "taken", "still_mapped"])
def test_swaps_are_correct_only_when_every_slate_is_and_nothing_damaged_is_taken(wrong: str) -> None:
    assert Outcome(slates=5, refused=3, p99_ratio=99.0).is_correct
    assert not Outcome(slates=5, **{wrong: 1}).is_correct
    assert not Outcome().is_correct


@pytest.fixture(scope="module")
def editions() -> list[Edition]:
    return [Edition(IDS, seed) for seed in (1, 2)]


def slate_by(edition: Edition, version: int, record: UserRecord) -> Slate:
    world = World(ItemTable(1), vectors=edition.vectors(version))
    for name in IDS:
        world.table.put(Item(item_id=name, updated_at=0.0, created_at=0.0))
    policy = POLICIES[DEFAULT_POLICY]
    request = SlateRequest(
        recommendation_id="0-1",
        partition=0,
        user_key="u1",
        surface="home",
        n=5,
        now=1.0,
        served_at=1.0,
        seed=1,
        policy=policy,
        slots=policy.slots,
        session_items=["i3"],
    )
    return recommend(world, request, record)


def test_a_slate_is_right_by_the_version_it_names_and_by_no_other(editions: list[Edition]) -> None:
    record = UserRecord()
    record.affinities[0] = {"i7": [1.0] * 3}
    slate = slate_by(editions[0], 1, record)
    served = {version: edition.vectors(version) for version, edition in enumerate(editions, start=1)}

    assert complaint_about(slate, served, record) == ""
    assert "off that of vectors 2" in complaint_about(msgspec.structs.replace(slate, index_version=2), served, record)
    assert "never to be served" in complaint_about(msgspec.structs.replace(slate, index_version=9), served, record)
    assert "off that" in complaint_about(slate, served, UserRecord())
    unsourced = msgspec.structs.replace(slate, sources=bytes(len(slate.sources)))
    assert "0 items" in complaint_about(unsourced, served, record)
    other = packed_features(slate_features(slate) + np.float32(0.5))
    assert "off that" in complaint_about(msgspec.structs.replace(slate, features=other), served, record)


@pytest.mark.slow
def test_vectors_are_exchanged_under_requests_and_damaged_ones_refused() -> None:
    outcome = verify_swaps(swaps=5, rate=30.0, workers=2, items=400, users=100, quiet_s=1.0)

    assert outcome.is_correct, outcome
    assert (outcome.swaps, outcome.refused) == (5, 1)
    assert outcome.versions >= 5
    assert outcome.slates >= outcome.requests > 50
