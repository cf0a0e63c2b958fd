"""`headrace verify propensities`: is what slates log as probabilities what their slots were drawn with?

Slates come from the ranking path over a shop of random items, with requests that exclude, records that hide, policies
that pin, cap, favour new items and perturb weights, and rules of the business. Each goes through its encoding to the
log and back; then the record alone must give the slate again, its distributions the logged propensities, and the
randomised integral transforms of all slates' choices must be uniform, slot by slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from online.core.decay import DAY_S
from online.core.features import NAMES, PRIOR, PRIOR_INTERCEPT
from online.core.item_stats import ItemStats
from online.core.item_table import ItemTable
from online.core.pit import randomised_pit, uniformity
from online.core.policy import SlotPolicy
from online.core.policy_document import DEFAULT_POLICY, Policy
from online.core.propensity import redrawn, slot_distributions
from online.core.ranker import Ranker
from online.core.record import TYPE_CODES, UserRecord
from online.core.rules.rule_set import RuleSet, compile_rule
from online.core.update import SessionTouch, Update
from online.pipeline import SlateRequest, recommend
from online.world import World
from schemas.item import Item
from schemas.rule import Rule
from schemas.slate import Slate, decode_slate, encode_slate

T = TypeVar("T")

ALPHA = 1e-4
ITEMS, SLOTS, NOW = 300, 10, 1_767_225_600.0
NEIGHBOURS = 8  # of so many items every other one is a variant of one product
TOLERANCE = 1e-9  # relative, between a logged propensity and the one its record gives
_SHOP, _ASKS, _TRANSFORM = range(3)  # streams of randomness
RULE_SETS = 16
RULES = (
    Rule(rule_id="exclude", action="exclude", where="item.brand == 'b3' || 'c5' in item.categories"),
    Rule(rule_id="include", action="include", where="!(item.popularity < 0.5)", when="surface == 'home'"),
    Rule(rule_id="more", action="boost", where="item.brand in ['b1', 'b2']", factor=3.0),
    Rule(rule_id="less", action="boost", where="item.age_days > 20", factor=0.5),
    Rule(rule_id="pin", action="pin", where="item.brand == 'b7'", position=4),
    Rule(rule_id="together", action="cap", where="'c2' in item.categories", most=1),
    Rule(rule_id="each", action="cap", most=2, per="brand"),
)


@dataclass(frozen=True, slots=True)
class SlotOutcome:
    """How uniform the transforms of one slot are; pins are not drawn and do not count."""

    drawn: int
    distance: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the slates held, and what their records got wrong."""

    seed: int
    slates: int
    slots: list[SlotOutcome]
    least_p_value: float
    alpha: float
    wrong_propensities: int  # slots whose logged propensity is not the one of the record
    not_redrawn: int  # slates that their record does not give again
    pinned: int  # slots
    of_new_items: int  # slots
    with_caps: int  # slates
    perturbed: int  # slates
    with_rules: int  # slates
    removed: int  # candidates

    @property
    def is_correct(self) -> bool:
        return self.least_p_value >= self.alpha and self.wrong_propensities == self.not_redrawn == 0


def slates(n: int, seed: int) -> Iterator[Slate]:
    """Yield n slates of requests and policies drawn with the seed, as they come back from the log."""
    world, rng = _world(seed), np.random.default_rng([seed, _ASKS])
    rule_sets = [_rule_set(world, rng) for _ in range(RULE_SETS)]
    for number in range(n):
        world.rule_set = _one(rng, RuleSet(), *rule_sets)
        request, record = _request(rng, number), _record(rng)
        yield decode_slate(encode_slate(recommend(world, request, record)))


def verify_propensities(
    given: Iterable[Slate], seed: int, progress: Callable[[int], None] = lambda done: None
) -> Outcome:
    """Judge slates by their records; the seed is that of the randomised transform."""
    rng, transforms = np.random.default_rng([seed, _TRANSFORM]), list[NDArray[np.float64]]()
    wrong = lost = pinned = new = capped = perturbed = ruled = removed = 0
    for done, slate in enumerate(given, start=1):
        distributions, chosen = slot_distributions(slate), np.array(slate.slots, np.int64)
        said, true = np.array(slate.propensities), distributions[np.arange(len(chosen)), chosen]
        wrong += int(np.count_nonzero(~np.isclose(said, true, rtol=TOLERANCE, atol=0.0)))
        again = redrawn(slate)
        lost += (again.slots.tolist(), again.propensities.tolist()) != (slate.slots, slate.propensities)
        is_pin = np.isin(chosen, list(slate.pins.values()))
        transform = np.full(SLOTS, np.nan)
        transform[: len(chosen)] = np.where(
            is_pin, np.nan, randomised_pit(distributions, chosen, rng.random(len(chosen)))
        )
        transforms.append(transform)
        pinned += int(is_pin.sum())
        new += sum(slate.pool[i] for i in slate.slots) if slate.pool else 0
        capped += slate.category_cap is not None or slate.brand_cap is not None or bool(slate.caps)
        perturbed += bool(slate.weight_shift)
        ruled += bool(slate.rules)
        removed += sum(slate.removed.values())
        progress(done)
    by_slot = [column[~np.isnan(column)] for column in np.array(transforms).reshape(-1, SLOTS).T]
    slots = [SlotOutcome(len(values), *uniformity(values)) for values in by_slot]
    return Outcome(
        seed=seed,
        slates=len(transforms),
        slots=slots,
        least_p_value=min(slot.p_value for slot in slots),
        alpha=ALPHA,
        wrong_propensities=wrong,
        not_redrawn=lost,
        pinned=pinned,
        of_new_items=new,
        with_caps=capped,
        perturbed=perturbed,
        with_rules=ruled,
        removed=removed,
    )


def _world(seed: int) -> World:
    rng = np.random.default_rng([seed, _SHOP])
    world = World(ItemTable(partitions=1))
    popularity, impressions = rng.pareto(1.0, ITEMS) * 5.0, rng.pareto(1.0, ITEMS) * 100.0
    age = rng.exponential(20.0 * DAY_S, ITEMS)
    stats = {}
    for i in range(ITEMS):
        item = Item(
            item_id=f"i{i}",
            updated_at=NOW,
            created_at=NOW - age[i],
            categories=[f"c{rng.integers(12)}"],
            brand=f"b{rng.integers(20)}",
            group_id=f"g{i // NEIGHBOURS}" if i % 2 else None,
        )
        world.table.put(item)
        counts = {TYPE_CODES["impression"]: float(impressions[i]), TYPE_CODES["click"]: float(popularity[i])}
        stats[item.item_id] = ItemStats(NOW, [float(popularity[i])] * world.table.halves, counts, NOW, NOW)
    touches = [SessionTouch(s, f"i{rng.integers(ITEMS)}", NOW) for s in range(200) for _ in range(3)]
    world.apply(Update(0, 1, stats, touches))
    world.refresh(NOW)
    root = np.tril(rng.normal(scale=0.2, size=(len(NAMES), len(NAMES))))
    world.ranker = Ranker("proof", PRIOR, PRIOR_INTERCEPT, root)
    return world


def _rule_set(world: World, rng: np.random.Generator) -> RuleSet:
    return RuleSet.over([compile_rule(rule) for rule in RULES if rng.random() < 0.3], world.table)


def _request(rng: np.random.Generator, number: int) -> SlateRequest:
    policy = _policy(rng)
    return SlateRequest(
        recommendation_id=f"0-{number}",
        partition=0,
        user_key="u",
        surface="home",
        n=SLOTS,
        now=NOW,
        served_at=NOW,
        seed=int(rng.integers(2**63)),
        policy=policy,
        slots=policy.slots,
        session_items=_items(rng, 2),
        exclude_item_ids=_items(rng, int(rng.integers(20))),
    )


def _policy(rng: np.random.Generator) -> Policy:
    slots = SlotPolicy(
        tau=_one(rng, 0.05, 0.25, 1.0),
        epsilon=_one(rng, 0.0, 0.05, 0.3),
        diversity=_one(rng, 0.0, 0.3, 1.5),
        pool=_one(rng, 0.0, 0.1, 0.4),
        category_cap=_one(rng, None, 1, 2),
        brand_cap=_one(rng, None, 1, 3),
    )
    positions = rng.permutation(SLOTS)[: _one(rng, 0, 1, 2)] + 1
    pins = dict(zip(positions.tolist(), dict.fromkeys(_items(rng, len(positions))), strict=False))
    return Policy(DEFAULT_POLICY, slots=slots, thompson=_one(rng, 0.0, 1.0), pins=pins, fatigue=_one(rng, 0.0, 0.5))


def _one(rng: np.random.Generator, *values: T) -> T:
    return values[int(rng.integers(len(values)))]


def _record(rng: np.random.Generator) -> UserRecord:
    hidden, purchased = (dict.fromkeys(_items(rng, int(rng.integers(10))), 1) for _ in range(2))
    shown = {item: [int(NOW) - 9] * _one(rng, 1, 4) for item in _items(rng, 40)}
    return UserRecord(counts={TYPE_CODES["click"]: 1}, hidden=hidden, purchased=purchased, shown=shown)


def _items(rng: np.random.Generator, n: int) -> list[str]:
    return [f"i{i}" for i in rng.integers(ITEMS, size=n).tolist()]
