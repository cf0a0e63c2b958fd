"""Controls: what a user has told the recommender to do, in the user's record.

They are words, not behaviour: nothing is learned from them, and they stand for ever. What they keep the profile from
learning is decided event by event, so that a rebuild decides the same.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from schemas.event import Event
from schemas.preferences import (
    MAX_BOOSTED,
    MAX_MUTED_ITEMS,
    MAX_MUTED_LABELS,
    FacetBoost,
    Preferences,
)


class Controls(msgspec.Struct, array_like=True, frozen=True):
    """What stands: said at `time`. Of `personalization` and `consent`, None is a question not answered.

    What the user did before `forgotten` is not in the record, and does not come into it late.
    """

    time: float = 0.0
    muted_items: list[str] = []
    muted_brands: list[str] = []
    muted_categories: list[str] = []
    boosts: list[FacetBoost] = []
    personalization: bool | None = None
    consent: bool | None = None
    forgotten: float = 0.0

    @property
    def refusal(self) -> str:
        """Why the answer is a stranger's, by the user's own will; empty when it is not."""
        if self.consent is False:
            return "consent is withdrawn"
        return "personalization is off" if self.personalization is False else ""

    @property
    def in_force(self) -> list[str]:
        """Which controls are used, by name.

        >>> Controls(muted_brands=["acme"], personalization=False).in_force
        ['muted', 'personalization_off']
        """
        used = {
            "muted": bool(self.muted_items or self.muted_brands or self.muted_categories),
            "boosts": bool(self.boosts),
            "personalization_off": self.personalization is False,
            CONSENT_WITHDRAWN: self.consent is False,
        }
        return [name for name, is_used in used.items() if is_used]


NO_CONTROLS = Controls()
CONSENT_WITHDRAWN = "consent_withdrawn"
Reach = Literal["profile", "items", "nothing"]


def reach_of(event: Event, controls: Controls | None) -> Reach:
    """Say what an event counts for: its user's profile and the items, the items alone, or nothing.

    >>> reach_of(Event(event_id="e", event_type="view", timestamp=9.0, received_at=9.0), Controls(forgotten=9.5))
    'items'
    """
    if controls is None:
        return "items" if event.consent is False else "profile"
    if controls.consent is False:
        return "nothing"
    is_refused = event.consent is False or controls.personalization is False
    return "items" if is_refused or event.timestamp < controls.forgotten else "profile"


def said(controls: Controls | None, preferences: Preferences) -> Controls:
    """Return what stands once preferences are said. Older ones than those that stand only forget.

    >>> said(None, Preferences(event_id="e", timestamp=5.0, received_at=5.0, reset=True)).forgotten
    5.0
    """
    before, time = controls or NO_CONTROLS, preferences.timestamp
    is_granted = before.consent is False and preferences.consent is not False  # nothing of the time without it counts
    forgotten = max(before.forgotten, time) if preferences.reset or is_granted else before.forgotten
    if time < before.time:
        return replace(before, forgotten=forgotten)
    return Controls(
        time,
        preferences.muted_items,
        preferences.muted_brands,
        preferences.muted_categories,
        preferences.boosts,
        preferences.personalization,
        preferences.consent,
        forgotten,
    )


def united(user: Controls | None, visitor: Controls | None) -> Controls | None:
    """Return what stands for a user that a visitor has turned out to be.

    The mutes and boosts of both stand, the user's first; a question that the user has not answered the visitor has.
    What the visitor has had forgotten is not in its record.

    >>> united(Controls(muted_brands=["a"], consent=True), Controls(muted_brands=["b"], consent=False)).consent
    True
    """
    if user is None or visitor is None:
        return user or (visitor and replace(visitor, forgotten=0.0))
    boosts = {(boost.facet, boost.value): boost for boost in (*visitor.boosts, *user.boosts)}
    own = {(boost.facet, boost.value) for boost in user.boosts}
    others = [boost for key, boost in boosts.items() if key not in own]
    return Controls(
        max(user.time, visitor.time),
        _together(user.muted_items, visitor.muted_items, MAX_MUTED_ITEMS),
        _together(user.muted_brands, visitor.muted_brands, MAX_MUTED_LABELS),
        _together(user.muted_categories, visitor.muted_categories, MAX_MUTED_LABELS),
        [*user.boosts, *others][:MAX_BOOSTED],
        visitor.personalization if user.personalization is None else user.personalization,
        visitor.consent if user.consent is None else user.consent,
        user.forgotten,
    )


def _together(mine: list[str], theirs: list[str], most: int) -> list[str]:
    return list(dict.fromkeys([*mine, *theirs]))[:most]
