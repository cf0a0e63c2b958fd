"""Warm-up: run the whole ranking path once on a tiny world, so that its kernels are compiled before traffic."""

from __future__ import annotations

from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.policy_document import DEFAULT_POLICY, POLICIES
from online.core.update import SessionTouch, Update
from online.models.session_knn import SessionKnn, SessionKnnConfig
from online.pipeline import SlateRequest, recommend
from online.world import World
from schemas.item import Item


def warm_up() -> None:
    """Compile every kernel of the request path, or load its machine code from the disk cache."""
    world = World(ItemTable(partitions=1), SessionKnn(SessionKnnConfig(sessions=16)))
    for name in "abc":
        world.table.put(Item(item_id=name, updated_at=0.0, created_at=0.0))
    touches = [SessionTouch(1, name, float(i)) for i, name in enumerate("abc")]
    world.apply(Update(0, 1, {"a": ItemStats(0.0, [1.0] * world.table.halves, {}, 0.0, 0.0)}, touches))
    policy = POLICIES[DEFAULT_POLICY]
    request = SlateRequest(
        recommendation_id="0-warm",
        partition=0,
        user_key=None,
        surface="home",
        n=2,
        now=1.0,
        served_at=1.0,
        seed=1,
        policy=policy,
        slots=policy.slots,
        session_items=["a"],
    )
    recommend(world, request, None)
