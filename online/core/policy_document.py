"""Policies: which retrievers, which ranker and which slot policy answer a request; small versioned documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .policy import SlotPolicy
from .value import Value

SOURCES = (
    "session_knn",
    "vectors",
    "affinity",
    "trending",
    "popular",
    "new",
    "audience",
    "rules",
    "session_blend",
)
"""Retrievers in the order of their bit in a candidate's source set."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy.

    `ranker` is `learned` (the active model), `popularity` (popularity alone, that of days and of all time), or the name
    of a model.
    `thompson` is how many standard deviations of the ranker's posterior one of the draw counts, 0 for none. `new_items`
    is the budget of the exploration pool, surface -> share of its draws; a surface it does not name has `slots.pool`.
    `pins` are position, counted from 1, -> item. `values` is what outcomes are worth by surface, where that is not the
    common opinion. `fatigue` is what each time takes off an item's utility that it was lately shown and ignored.
    """

    policy_id: str
    retrievers: tuple[str, ...] = SOURCES
    ranker: str = "learned"
    slots: SlotPolicy = field(default_factory=SlotPolicy)
    thompson: float = 0.0
    new_items: dict[str, float] = field(default_factory=dict)
    pins: dict[int, str] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    fatigue: float = 0.0
    version: int = 1

    def __post_init__(self) -> None:
        unknown = sorted(set(self.retrievers) - set(SOURCES))
        if unknown or not self.retrievers:
            msg = f"policy {self.policy_id}: retrievers are some of {', '.join(SOURCES)}, not {self.retrievers}"
            raise ValueError(msg)
        if min(self.thompson, self.fatigue) < 0.0 or not all(0.0 <= share <= 1.0 for share in self.new_items.values()):
            msg = f"policy {self.policy_id}: thompson and fatigue are at least 0 and budgets are shares, not {self}"
            raise ValueError(msg)
        if min(self.pins, default=1) < 1 or len(set(self.pins.values())) < len(self.pins):
            msg = f"policy {self.policy_id}: pins are positions from 1 of items that differ, not {self.pins}"
            raise ValueError(msg)

    def slots_of(self, surface: str, *, diversity: float | None = None, epsilon: float | None = None) -> SlotPolicy:
        """Return the slot policy of a surface, with what a request asks for instead of the policy's λ and ε.

        The uniform draws come first: they leave the pool no more than what remains.

        >>> policy = Policy("p", slots=SlotPolicy(epsilon=0.05), new_items={"home": 0.2})
        >>> policy.slots_of("home").pool, policy.slots_of("cart").pool, policy.slots_of("home", epsilon=0.875).pool
        (0.2, 0.0, 0.125)
        """
        own = self.slots
        share = own.epsilon if epsilon is None else epsilon
        return replace(
            own,
            epsilon=share,
            diversity=own.diversity if diversity is None else diversity,
            pool=min(self.new_items.get(surface, own.pool), 1.0 - share),
        )


POLICIES = {
    policy.policy_id: policy
    for policy in (
        Policy("personal-1"),
        Policy(
            "popularity-1",
            retrievers=("popular",),
            ranker="popularity",
            slots=SlotPolicy(tau=0.02, epsilon=0.02, diversity=0.0),  # a baseline must be the best of its kind
        ),
        Policy("similar-1", retrievers=("session_knn", "rules", "session_blend", "vectors", "affinity", "popular")),
        Policy("greedy-1", slots=SlotPolicy(tau=1e-6, epsilon=0.0)),  # against which exploring is judged
        Policy("thompson-1", slots=SlotPolicy(tau=0.05, epsilon=0.02, pool=0.1), thompson=1.0),
    )
}
_AS_LISTED = SlotPolicy(tau=1e-3, epsilon=0.0, diversity=0.0)
LISTINGS = {
    "trending": Policy("trending-1", retrievers=("trending",), ranker="listed", slots=_AS_LISTED),
    "latest": Policy("latest-1", retrievers=("new",), ranker="listed", slots=_AS_LISTED),
}
"""Lists that are the same for everybody, by name: shown in their order. No request names these policies."""

UNLEARNED = frozenset({"popularity", "listed"})
"""Rankers whose utilities are no odds: nothing is learned of how well they rank."""

DEFAULT_POLICY, POPULARITY_POLICY, SIMILAR_POLICY = "personal-1", "popularity-1", "similar-1"


def policies_for(values: Mapping[str, Value], new_items: Mapping[str, float]) -> dict[str, Policy]:
    """Return the policies as a shop wants its surfaces: what outcomes are worth there, and the budget of new items.

    Values hold for every policy, budgets for those that explore by a learned ranker: a baseline stays what it is. What
    a policy says of a surface itself comes first.

    Raises:
        ValueError: a budget is no share.

    >>> policies = policies_for({"cart": Value(click=0.0)}, {"home": 0.1})
    >>> policies["personal-1"].values["cart"].click, policies["personal-1"].slots_of("home").pool
    (0.0, 0.1)
    >>> policies["greedy-1"].slots_of("home").pool
    0.0
    """

    def explores(policy: Policy) -> bool:
        return policy.ranker == "learned" and policy.slots.epsilon > 0.0

    return {
        name: replace(
            policy,
            values={**values, **policy.values},
            new_items={**new_items, **policy.new_items} if explores(policy) else policy.new_items,
        )
        for name, policy in POLICIES.items()
    }
