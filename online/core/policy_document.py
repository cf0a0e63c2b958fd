"""Policies: which retrievers, which ranker and which slot policy answer a request; small versioned documents."""

from __future__ import annotations

from dataclasses import dataclass, field

from .policy import SlotPolicy
from .value import Value

SOURCES = ("session_knn", "vectors", "affinity", "trending", "popular", "new")
"""Retrievers in the order of their bit in a candidate's source set."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy. `ranker` is `learned` (the served model) or `popularity` (the decayed popularity feature alone).

    `values` is what outcomes are worth by surface, where that is not the common opinion.
    """

    policy_id: str
    retrievers: tuple[str, ...] = SOURCES
    ranker: str = "learned"
    slots: SlotPolicy = field(default_factory=SlotPolicy)
    values: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.retrievers) - set(SOURCES))
        if unknown or not self.retrievers:
            msg = f"policy {self.policy_id}: retrievers are some of {', '.join(SOURCES)}, not {self.retrievers}"
            raise ValueError(msg)


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
        Policy("similar-1", retrievers=("session_knn", "vectors", "popular")),
    )
}
DEFAULT_POLICY, POPULARITY_POLICY, SIMILAR_POLICY = "personal-1", "popularity-1", "similar-1"
