from __future__ import annotations

from typing import Any

import pytest

from online.core.controls import Controls, reach_of, said, united
from schemas.event import Event
from schemas.preferences import FacetBoost, Preferences


def event(at: float = 9.0, consent: bool | None = None) -> Event:
    return Event(event_id="e", event_type="click", timestamp=at, received_at=at, user_id="7", consent=consent)


def preferences(at: float, **fields: Any) -> Preferences:
    return Preferences(event_id="p", timestamp=at, received_at=at, user_id="7", **fields)


@pytest.mark.parametrize(
    ("controls", "consent", "reach"),
    [
        (None, None, "profile"),
        (None, True, "profile"),
        (None, False, "items"),
        (Controls(), None, "profile"),
        (Controls(personalization=True, consent=True), None, "profile"),
        (Controls(), False, "items"),
        (Controls(personalization=False), True, "items"),
        (Controls(forgotten=9.0), None, "profile"),
        (Controls(forgotten=9.1), None, "items"),
        (Controls(consent=False), True, "nothing"),
        (Controls(consent=False, personalization=True), None, "nothing"),
    ],
)
def test_what_an_event_counts_for_is_the_users_decision(
    controls: Controls | None, consent: bool | None, reach: str
) -> None:
    assert reach_of(event(consent=consent), controls) == reach


def test_what_is_said_replaces_what_stood() -> None:
    first = said(None, preferences(5.0, muted_brands=["acme"], personalization=False))
    second = said(first, preferences(6.0, boosts=[FacetBoost("brand", "acme", 2.0)]))

    assert first == Controls(5.0, muted_brands=["acme"], personalization=False)
    assert second == Controls(6.0, boosts=[FacetBoost("brand", "acme", 2.0)])


def test_what_was_said_before_and_comes_late_only_forgets() -> None:
    standing = Controls(6.0, muted_items=["a"])

    assert said(standing, preferences(5.0, muted_items=["b"], reset=True)) == Controls(
        6.0, muted_items=["a"], forgotten=5.0
    )


def test_consent_given_again_does_not_reach_back() -> None:
    withdrawn = said(Controls(1.0), preferences(5.0, consent=False))
    given = said(withdrawn, preferences(9.0, consent=True))

    assert (withdrawn.forgotten, given.forgotten) == (0.0, 9.0)
    assert said(withdrawn, preferences(7.0, consent=False)).forgotten == 0.0


def test_mutes_and_boosts_of_user_and_visitor_stand_together() -> None:
    user = Controls(5.0, ["a"], ["x"], boosts=[FacetBoost("brand", "x", 2.0)], forgotten=3.0)
    boosts = [FacetBoost("brand", "x", 0.5), FacetBoost("category", "x", 3.0)]
    visitor = Controls(4.0, ["b", "a"], ["y"], ["shoes"], boosts, forgotten=4.0)

    assert united(user, visitor) == Controls(
        5.0, ["a", "b"], ["x", "y"], ["shoes"], [user.boosts[0], boosts[1]], forgotten=3.0
    )


@pytest.mark.parametrize(
    ("of_user", "of_visitor", "answer"),
    [(None, False, False), (None, True, True), (True, False, True), (False, True, False), (None, None, None)],
)
def test_a_question_that_the_user_has_not_answered_the_visitor_has(
    of_user: bool | None, of_visitor: bool | None, answer: bool | None
) -> None:
    together = united(
        Controls(1.0, personalization=of_user, consent=of_user),
        Controls(2.0, personalization=of_visitor, consent=of_visitor),
    )

    assert together is not None
    assert (together.personalization, together.consent) == (answer, answer)


def test_who_has_said_nothing_takes_over_what_the_visitor_said() -> None:
    assert united(None, Controls(4.0, ["a"], forgotten=4.0)) == Controls(4.0, ["a"])
    assert united(Controls(4.0, ["a"], forgotten=4.0), None) == Controls(4.0, ["a"], forgotten=4.0)
    assert united(None, None) is None


def test_full_lists_stay_within_their_bounds() -> None:
    together = united(Controls(muted_brands=[f"u{n}" for n in range(64)]), Controls(muted_brands=["v"]))

    assert together is not None
    assert together.muted_brands == [f"u{n}" for n in range(64)]
