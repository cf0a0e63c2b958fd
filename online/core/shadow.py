"""Shadows: another policy, or the same one with another ranker, answers a request that was answered already.

Shadow slates have a topic of their own, so that nothing that reads slates can take them for something that was shown:
they are not joined with outcomes, not learned from and not counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from schemas.shadow import ShadowSlate
from schemas.slate import Slate

from .policy_document import Policy
from .rank_similarity import overlap, rank_biased_overlap, rank_shift

SHADOWS = "shadows"
"""Topic, one partition."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """What answers a share of a surface's requests a second time: a policy by its id, or a ranker by its name."""

    policy: str = ""
    model: str = ""
    share: float = 0.1

    def policy_of(self, served: Policy) -> Policy:
        """Return the policy that a shadow of a ranker draws by: the served one with that ranker.

        >>> Shadow(model="newton-1").policy_of(Policy("personal-1")).ranker
        'newton-1'
        """
        return replace(served, ranker=self.model)


def compared(served: Slate, drawn: Slate, shadow: Shadow, *, waited_ms: float = 0.0) -> ShadowSlate:
    """Return a slate that was drawn as the shadow of one that was served, with how alike they are."""
    ranking, other = ([slate.candidates[i] for i in slate.slots] for slate in (served, drawn))
    return ShadowSlate(
        shadow_of=served.recommendation_id,
        model=shadow.model,
        share=shadow.share,
        served_policy_id=served.policy_id,
        served_policy_version=served.policy_version,
        served_model_version=served.model_version,
        overlap=overlap(ranking, other),
        rank_biased_overlap=rank_biased_overlap(ranking, other),
        rank_shift=rank_shift(ranking, other),
        waited_ms=waited_ms,
        slate=drawn,
    )
