"""The ranking path: request and record in, slate out. No clock, no socket: time, seed and state are arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from online.core.audience import audiences_of
from online.core.canary import NO_ARM, Arm
from online.core.controls import NO_CONTROLS
from online.core.fatigue import fatigue
from online.core.features import INDEX, NAMES, Retrieved, Scene, gather
from online.core.leaning import leaning
from online.core.policy import Limits, SlotPolicy, draw_slate, most_slots, one_of_each, together
from online.core.policy_document import SOURCES, Policy
from online.core.pool import new_items
from online.core.preference_step import told
from online.core.profile import Profile
from online.core.rates import Rates
from online.core.record import UserRecord, in_cart
from online.core.robots import is_robot
from online.core.row_lists import places
from online.core.rules.control_rules import control_rules
from online.core.rules.in_force import Applied, InForce
from online.core.rules.request_fields import RequestFields
from online.core.rules.rule_set import CompiledRule
from online.core.rung import Evidence, acts_of, rung_of
from online.core.slate_features import packed_features, rounded
from online.core.step import Context
from online.core.thompson import weight_shift
from online.core.toplists import Toplists
from online.core.weighting import Weighting, evidence
from online.retrieval import Query, retrieve
from online.world import World
from schemas.event import user_id_of
from schemas.slate import HALVED_VERSION, Slate

NO_RECORD = UserRecord()
WHO = ("user_id", "visitor_id", "session_id")  # of a request, not logged where consent is withdrawn
_NONE = np.empty(0, np.int32)
LISTED_ITEMS = 1000  # of a list, its first ones are candidates
STATIC_ITEMS = 1000  # of the catalogue, oldest rows first, stand in when retrieval finds too little

Stopwatch = Callable[[str], None]
"""Called with a stage's name when the stage ends; what it measures with is the caller's business."""


@dataclass(frozen=True, slots=True)
class SlateRequest:
    """A request as the ranking path reads it: defaults resolved, ids and time given."""

    recommendation_id: str
    partition: int
    user_key: str | None
    surface: str
    n: int
    now: float  # the moment to rank for
    served_at: float
    seed: int
    policy: Policy
    slots: SlotPolicy  # the policy's, with the request's overrides
    item_id: str | None = None
    session_items: Sequence[str] = ()
    session: int | None = None  # CRC-32 of its session id
    exclude_item_ids: Sequence[str] = ()
    exclude_seen: bool = False
    exclude_purchased: bool = True
    exclude_in_cart: bool = True
    seed_given: bool = False
    robot: bool = False  # by its own words
    rules: Sequence[CompiledRule] = ()  # its own: filter and boosts
    listed: Sequence[str] | None = None  # the caller's candidates in the caller's order; None for those of retrieval
    listing: str = ""  # a list that is the same for everybody is what is shown
    context: Context = field(default_factory=dict)
    as_asked: dict[str, Any] = field(default_factory=dict)
    weighting: Weighting = "hybrid"
    deadline_ms: float = math.inf  # for whoever holds the stopwatch
    experiment_id: str = ""
    variant: str = ""
    held_out: bool = False
    arm: Arm = NO_ARM  # of a canary


def recommend(
    world: World,
    request: SlateRequest,
    record: UserRecord | None,
    *,
    degraded: str = "",
    late: str = "",
    stopwatch: Stopwatch = lambda stage: None,
) -> Slate:
    """Return a slate. It is empty only when nothing is eligible.

    Args:
        world: item arrays, session index, vectors, ranker; `frozen` where another thread may replace them.
        request: the resolved request.
        record: the user's record; None when there is none or it could not be read.
        degraded: why the record could not be read, empty when it could.
        late: why an answer by what everybody likes has to do, empty when it need not.
        stopwatch: told when each stage ends; what it raises breaks off.
    """
    known = record or NO_RECORD
    controls = known.controls or NO_CONTROLS
    if controls.refusal:
        known = told(known)
    tops = world.tops or Toplists(world.table, request.now)
    profile = Profile.of(world.table, known, request.now, request.session)
    session = _session_items(request, profile)
    rows = world.table.rows(session)
    context = known.labels_context | known.context | request.context
    audiences = audiences_of(request.context if controls.refusal else context)
    rules = _rules(world, request, known, context)
    leaned, wanted = evidence(request.weighting, profile, session)
    wanted_rows = rows if wanted is session else world.table.rows(wanted)
    query = Query(leaned, wanted_rows, leaning(world.table, leaned, wanted_rows), audiences)
    found = _found(world, tops, query, request, rules)
    stopwatch("retrieve")
    applied = rules.on(found.rows)
    eligible, removed = _eligible(world, request, session, profile, applied)
    is_shared = any(name in world.liked for name in audiences)
    is_named = request.user_key is not None
    seen = Evidence(
        acts_of(known), len(session), is_shared, bool(eligible.any()), is_named, degraded, late, controls.refusal
    )
    rung, why = rung_of(seen)
    groups = _groups(world, found.rows)
    limits = _limits(world, request, applied, groups)
    unnamed = _NONE if request.listed is not None else _unnamed(world, request, applied, groups, eligible, limits)
    if len(unnamed):
        found = found.joined(Retrieved.unsourced(unnamed))
        groups = _groups(world, found.rows)
        applied = rules.on(found.rows)
        eligible, removed = _eligible(world, request, session, profile, applied)
        limits = _limits(world, request, applied, groups)
    stopwatch("eligibility")
    rates, untaught = world.rates or Rates(world.table), world.blend.untaught
    scene = Scene(world.table, rates, found, profile, rows, request.context, untaught, _prices(world, request, found))
    features = rounded(gather(scene))
    stopwatch("features")
    shift = _weight_shift(world, request)
    utilities, boosts = _utilities(world, request, features, shift), applied.boosts
    if boosts is not None:
        utilities = utilities + boosts
    tired = fatigue(world.table, known, request.now, request.policy.fatigue, found.rows)
    if tired is not None:
        utilities = utilities + tired
    stopwatch("score")
    slots = request.slots
    pins = _pins(world, request, applied, utilities, eligible)
    pool = new_items(world.table, found.rows, request.now) if slots.pool > 0.0 else None
    draw = draw_slate(utilities, groups, eligible, request.n, slots, request.seed, pool=pool, pins=pins, limits=limits)
    stopwatch("slots")
    fired, rule_hits = applied.fired
    robot = request.robot or is_robot(known, request.now)
    is_nameless = controls.consent is False
    ope_why = _ope_why(request, rung, degraded or late, robot)
    return Slate(
        recommendation_id=request.recommendation_id,
        decision_id=request.recommendation_id,
        partition=request.partition,
        user_key=None if is_nameless else request.user_key,
        surface=request.surface,
        time=request.now,
        served_at=request.served_at,
        n=request.n,
        request=_asked(world, request, is_nameless),
        session_items=list(session),
        record_position="" if is_nameless else known.position,
        updates=dict(world.table.applied),
        model_version=world.ranker.version,
        index_version=world.vectors.version if world.vectors else 0,
        blend_version=world.blend_version,
        policy_id=request.policy.policy_id,
        rung=rung,
        why=why,
        tau=slots.tau,
        epsilon=slots.epsilon,
        diversity=slots.diversity,
        seed=request.seed,
        candidates=list(map(world.table.ids.names.__getitem__, found.rows.tolist())),
        feature_names=list(NAMES),
        source_names=list(SOURCES),
        features=packed_features(features),
        utilities=utilities.tobytes(),
        groups=groups.tobytes(),
        eligible=eligible.astype(np.uint8).tobytes(),
        sources=found.source_bits().tobytes(),
        slots=draw.slots.tolist(),
        propensities=draw.propensities.tolist(),
        removed=removed,
        schema_version=HALVED_VERSION,
        ope_valid=not ope_why,
        ope_why=ope_why,
        pool=b"" if pool is None else pool.astype(np.uint8).tobytes(),
        pool_share=slots.pool,
        category_cap=slots.category_cap,
        brand_cap=slots.brand_cap,
        pins=pins,
        thompson=request.policy.thompson,
        weight_shift=b"" if shift is None else shift.tobytes(),
        robot=robot,
        rules=fired,
        rule_hits=rule_hits,
        boosts=b"" if boosts is None else boosts.tobytes(),
        caps=[] if limits is None else limits.most.tolist(),
        cap_groups=b"" if limits is None else limits.groups.tobytes(),
        as_of={"record": known.received, "updates": world.table.received},
        values=_values(request),
        policy_version=request.policy.version,
        control_version=world.control.version,
        ranker=request.policy.ranker,
        weighting=request.weighting,
        experiment_id=request.experiment_id,
        variant=request.variant,
        held_out=request.held_out,
        controls=controls.in_force,
        canary=request.arm.canary,
        canary_arm=request.arm.arm,
        canary_step=request.arm.step,
        fatigue=b"" if tired is None else tired.tobytes(),
    )


def _found(world: World, tops: Toplists, query: Query, request: SlateRequest, rules: InForce) -> Retrieved:
    """Return the candidates: the caller's, the first of a list that the rules admit, or those that retrieval finds."""
    if request.listing:
        source = SOURCES.index(request.policy.retrievers[0])
        return Retrieved.listed(rules.admitted(tops.listings[request.listing], LISTED_ITEMS), source)
    only = None if request.listed is None else world.table.rows(request.listed)
    return retrieve(world, tops, query, request.policy.retrievers, only)


def _prices(world: World, request: SlateRequest, found: Retrieved) -> NDArray[np.float64] | None:
    """Return the prices of the caller's list, 0 where there is none; None where candidates are not the caller's."""
    return None if request.listed is None else np.nan_to_num(np.exp(world.table.log_price[found.rows]))


def _values(request: SlateRequest) -> dict[str, float]:
    """Return what outcomes are worth on the surface; nothing where that is the common opinion."""
    value = request.policy.values.get(request.surface)
    return {} if value is None else {"click": value.click, "cart": value.cart, "purchase": value.purchase}


def _asked(world: World, request: SlateRequest, is_nameless: bool) -> dict[str, Any]:
    """Return what the client asked, without ids that are logged elsewhere or that no item has."""
    left_out = {"session_items", *(WHO if is_nameless else ())}
    asked = {name: value for name, value in request.as_asked.items() if name not in left_out}
    if request.listing or request.listed is not None:
        asked["listing"] = request.listing or "rank"
        asked.pop("candidates", None)
    if request.session_items:
        asked["session_items_given"] = len(request.session_items)
    if "exclude_item_ids" in asked:
        asked["exclude_item_ids"] = [i for i in request.exclude_item_ids if i in world.table.ids.codes]
    return asked


def is_showable(world: World, slate: Slate) -> bool:
    """Say whether every item of the slate may still be shown: the catalogue may have moved on since it was drawn."""
    rows = world.table.rows([slate.candidates[i] for i in slate.slots])
    return bool(world.table.is_eligible(rows, slate.time).all())


def _rules(world: World, request: SlateRequest, record: UserRecord, context: Context) -> InForce:
    fields = RequestFields(record, request.user_key, request.surface, request.n, request.item_id, context, request.now)
    return InForce.of(world.rule_set, world.table, fields, [*control_rules(record.controls), *request.rules])


def _session_items(request: SlateRequest, profile: Profile) -> list[str]:
    items = list(request.session_items) or [touch.item_id for touch in profile.touches]
    if request.item_id is not None and (not items or items[-1] != request.item_id):
        items.append(request.item_id)
    return items


def _unnamed(
    world: World,
    request: SlateRequest,
    applied: Applied,
    groups: NDArray[np.int32],
    eligible: NDArray[np.bool_],
    limits: Limits | None,
) -> NDArray[np.int32]:
    """Return rows of candidates that no retriever has named: the pinned, and when slots might stay empty the static
    list, the last rung."""
    wanted = np.concatenate([world.table.rows(request.policy.pins.values()), applied.in_force.pinned])
    if most_slots(groups, eligible, request.slots, limits) < request.n:
        everything = np.arange(len(world.table), dtype=np.int32)
        showable = everything[world.table.is_eligible(everything, request.now)]
        wanted = np.concatenate([wanted, applied.in_force.admitted(showable, STATIC_ITEMS)])
    return np.setdiff1d(wanted, applied.rows) if len(wanted) else wanted


def _limits(world: World, request: SlateRequest, applied: Applied, groups: NDArray[np.int32]) -> Limits | None:
    """Return the caps of rules, and one slot for the variants of a product; a caller's own list keeps them all."""
    variants = None if request.listed is not None else one_of_each(world.table.group[applied.rows])
    return together(applied.limits(groups), variants)


def _groups(world: World, rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the first category and the brand of rows, shape (c, 2)."""
    groups = np.empty((len(rows), 2), np.int32)
    groups[:, 0], groups[:, 1] = world.table.category[rows, 0], world.table.brand[rows]
    return groups


def _pins(
    world: World,
    request: SlateRequest,
    applied: Applied,
    utilities: NDArray[np.float64],
    eligible: NDArray[np.bool_],
) -> dict[int, int]:
    """Return slot -> candidate of pins that may be shown: those of rules, and where they leave room the policy's."""
    codes, of_rules = world.table.ids.codes, applied.pins(utilities, eligible)
    found = {
        position - 1: int(np.argmax(applied.rows == codes[item]))
        for position, item in request.policy.pins.items()
        if item in codes and position <= request.n and codes[item] in applied.rows
    }
    kept = {slot: i for slot, i in found.items() if eligible[i] and i not in of_rules.values()}
    return kept | of_rules


def _ope_why(request: SlateRequest, rung: str, degraded: str, robot: bool) -> str:
    """Say why the slate does not serve for evaluation; empty when it does."""
    if request.seed_given:
        return "client seed"
    return degraded or ("static list" if rung == "static" else "robot" if robot else "")


def _eligible(
    world: World, request: SlateRequest, session: Sequence[str], profile: Profile, applied: Applied
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return the support of the draw, and how many candidates each reason took from it."""
    known, record, rows = world.table.ids.known, profile.record, applied.rows
    named = {
        "hidden": known(record.hidden),
        "excluded": known(request.exclude_item_ids),
        "current": known(session[-1:]),  # what the user looks at right now
        "purchased": known(record.purchased) if request.exclude_purchased else _NONE,
        "in_cart": known(in_cart(record)) if request.exclude_in_cart else _NONE,
        "seen": profile.seen if request.exclude_seen else _NONE,
    }
    gone = {reason: places(items, rows) >= 0 for reason, items in named.items() if len(items)}
    gone["catalogue"] = ~world.table.is_eligible(rows, request.now)
    if (owner := world.table.owners.codes.get(user_id_of(request.user_key) or "")) is not None:
        gone["own"] = world.table.owner[rows] == owner
    gone |= applied.kept_out
    removed = {reason: int(np.count_nonzero(of_reason)) for reason, of_reason in gone.items() if of_reason.any()}
    return ~np.logical_or.reduce(list(gone.values())), removed


def _weight_shift(world: World, request: SlateRequest) -> NDArray[np.float64] | None:
    policy, root = request.policy, world.ranker.root
    if policy.thompson == 0.0 or policy.ranker == "popularity" or root is None:
        return None
    return weight_shift(root, policy.thompson, request.seed)


def _utilities(
    world: World, request: SlateRequest, features: NDArray[np.float32], shift: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    if request.policy.ranker == "popularity":
        return features[:, INDEX["standing"]].astype(np.float64)
    if request.policy.ranker == "listed":
        return -np.arange(len(features), dtype=np.float64) + 0.0
    utilities = world.ranker.utilities(features, request.surface, request.policy.values.get(request.surface))
    return utilities if shift is None else utilities + features.astype(np.float64) @ shift
