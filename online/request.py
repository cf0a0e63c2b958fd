"""Resolve a request: records, defaults, policy, partition and id, as both the API and a replay in process do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

from online.control.control import BUILT_IN, Control
from online.control.policy import POLICY
from online.core.canary import NO_ARM, arm_of
from online.core.experiment import HELD_OUT, NONE, Assignment, assigned
from online.core.holdout import is_held_out
from online.core.merge import known_together
from online.core.partition import partition_of
from online.core.record import UserRecord
from online.core.rules.rule_set import CompiledRule, InvalidRule, compile_rule
from online.pipeline import SlateRequest
from schemas.event import user_key
from schemas.robot import declares_robot
from schemas.rule import Rule
from schemas.slate import AskIn


class UnknownPolicy(ValueError):
    """The request names a policy that does not exist; the message lists those that do."""


def request_key(ask: AskIn) -> str | None:
    """Return the key of the user record the request reads; None for a session without a user.

    >>> from schemas.slate import RecommendIn
    >>> request_key(RecommendIn(visitor_id="7"))
    'v7'
    """
    return user_key(ask.user_id, ask.visitor_id) if ask.user_id or ask.visitor_id else None


ReadRecords = Callable[[Sequence[str]], Sequence[UserRecord | None]]
"""Keys -> their records, in one round trip."""


class Known(NamedTuple):
    """What is known of who asks; `positions` has every record that was read when that was not the one of the key."""

    record: UserRecord | None
    positions: Mapping[str, str] = {}  # record key -> position


def look_up(ask: AskIn, read: ReadRecords) -> Known:
    """Read what is known of who asks.

    A request with both ids reads both records at once, since a merge may be under way; until the user's record has
    taken over the visitor's, the ranking uses the two together. Without a merge the user's record alone counts. The
    visitor id alone of a merged visitor leads to the user's record.

    >>> from schemas.slate import RecommendIn
    >>> look_up(RecommendIn(visitor_id="7"), lambda keys: [UserRecord(position="5")]).record.position
    '5'
    """
    user_id = ask.user_id
    keys = [user_key(i, v) for i, v in ((user_id, None), (None, ask.visitor_id)) if i or v]
    found = dict(zip(keys, read(keys), strict=True)) if keys else {}
    visitor = found.get(user_key(None, ask.visitor_id))
    if user_id is None and visitor is not None and visitor.forward is not None:
        user_id = visitor.forward.user_id
        keys = [user_key(user_id, None)]
        found |= zip(keys, read(keys), strict=True)
    if user_id is None:
        return Known(visitor)
    record = known_together(found[user_key(user_id, None)], user_id, visitor)
    positions = {key: one.position for key, one in found.items() if one is not None}
    return Known(record, positions if len(found) > 1 else {})


def resolve(
    ask: AskIn,
    *,
    partitions: int,
    served_at: float,
    seed: int,
    suffix: str,
    user_agent: str = "",
    control: Control = BUILT_IN,
    holdout: float = 0.0,
) -> SlateRequest:
    """Return the request as the ranking path reads it.

    Args:
        ask: what the client sent.
        partitions: of the log; the recommendation id begins with the user's, so that outcomes find their way there.
        served_at: the server's clock, epoch seconds; the latest moment a request may ask for.
        seed: of the slot draws when the client gives none.
        suffix: what makes the recommendation id unique.
        user_agent: of the HTTP request, where there is one.
        control: policies, surfaces, experiments; what the surface says counts where the client does not say it. A
            request that names its policy is in no experiment, and who is in an experiment in no canary.
        holdout: share of units that are held out.

    Raises:
        UnknownPolicy: there is no such policy.
        InvalidRule: its filter, or one of its boosts, is no condition on items.
    """
    surface = control.surface(ask.surface)
    if ask.policy is not None and ask.policy not in control.of(POLICY):
        raise UnknownPolicy(f"policy is one of {', '.join(sorted(control.of(POLICY)))}")
    key = request_key(ask)
    held_out = key is not None and is_held_out(key, holdout)
    assignment = _assignment(ask, control, key, held_out)
    is_open = ask.policy is None and assignment is NONE
    arm = arm_of(control.canary(surface), key) if is_open else NO_ARM
    policy = control.policy(ask.policy or assignment.policy or arm.policy or surface.policy)
    partition = partition_of(key or f"s{'/'.join(ask.session_items) or ask.item_id or suffix}", partitions)
    return SlateRequest(
        recommendation_id=f"{partition:x}-{int(served_at * 1000):011x}{suffix}",
        partition=partition,
        user_key=key,
        surface=ask.surface,
        n=ask.n if "n" in ask.model_fields_set else surface.n,
        now=served_at if ask.timestamp is None else min(ask.timestamp, served_at),
        served_at=served_at,
        seed=seed if ask.seed is None else ask.seed,
        policy=policy,
        slots=policy.slots_of(ask.surface, diversity=ask.diversity, epsilon=ask.exploration),
        item_id=ask.item_id,
        session_items=ask.session_items,
        session=None if ask.session_id is None else crc32(ask.session_id.encode()),
        exclude_item_ids=ask.exclude_item_ids,
        exclude_seen=ask.exclude_seen,
        exclude_purchased=ask.exclude_purchased,
        exclude_in_cart=ask.exclude_in_cart,
        seed_given=ask.seed is not None,
        context=ask.context,
        robot=declares_robot(ask.context, user_agent),
        rules=_own_rules(ask),
        as_asked=ask.model_dump(exclude_unset=True),
        weighting=surface.weighting,
        deadline_ms=ask.deadline_ms or surface.deadline_ms,
        experiment_id=assignment.experiment_id,
        variant=assignment.variant,
        held_out=held_out,
        arm=arm,
    )


def _assignment(ask: AskIn, control: Control, key: str | None, held_out: bool) -> Assignment:
    if ask.policy is not None:
        return NONE
    return HELD_OUT if held_out else assigned(control.experiments, ask.surface, key)


def _own_rules(ask: AskIn) -> list[CompiledRule]:
    """Return a request's filter and boosts as the rules that they are."""
    rules = {}
    if ask.filter is not None:
        rules["filter"] = Rule(rule_id="request.filter", action="include", where=ask.filter)
    for n, boost in enumerate(ask.boost):
        rule_id = f"request.boost.{n}"
        rules[f"boost.{n}.where"] = Rule(rule_id=rule_id, action="boost", where=boost.where, factor=boost.factor)
    return [_compiled(field, rule) for field, rule in rules.items()]


def _compiled(field: str, rule: Rule) -> CompiledRule:
    try:
        return compile_rule(rule)
    except InvalidRule as error:
        raise InvalidRule(field, str(error)) from None
