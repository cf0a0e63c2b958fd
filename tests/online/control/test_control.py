from __future__ import annotations

from typing import Any

import pytest

from online.control.control import BUILT_IN, KINDS, Control, built_in
from online.control.policy import POLICY
from online.control.surface import SURFACE, Surface
from online.core.policy_document import DEFAULT_POLICY, POLICIES, policies_for
from online.core.value import Value
from schemas.control import ControlChange


def change(kind: str, document_id: str, revision: int, document: dict[str, Any] | None, **fields: Any) -> ControlChange:
    return ControlChange(kind=kind, id=document_id, revision=revision, document=document, **fields)


def after(*changes: ControlChange) -> Control:
    control = BUILT_IN
    for number, one in enumerate(changes, start=1):
        control = control.applied(one, str(number))
    return control


def test_before_the_first_change_there_is_what_is_built_in() -> None:
    assert BUILT_IN.version == ""
    assert dict(BUILT_IN.of(POLICY)) == POLICIES
    assert BUILT_IN.surface("home") == Surface("home", metrics=("click_rate", "purchase_rate", "coverage"))
    assert BUILT_IN.surface("lounge") == Surface("lounge")
    assert BUILT_IN.surface("email").weighting == "profile"


def test_a_tenants_first_version_of_a_built_in_policy_is_the_second_one() -> None:
    control = after(change("policy", DEFAULT_POLICY, 1, {"tau": 0.5}))

    assert (control.policy(DEFAULT_POLICY).version, control.policy(DEFAULT_POLICY).slots.tau) == (2, 0.5)
    assert after(change("policy", "mine", 1, {})).policy("mine").version == 1
    assert control.version == "1"


def test_a_rollback_of_the_first_change_leaves_what_is_built_in() -> None:
    back = change("policy", DEFAULT_POLICY, 2, None, is_rollback=True)

    assert after(change("policy", DEFAULT_POLICY, 1, {"tau": 0.5}), back).of(POLICY) == POLICIES
    assert "mine" not in after(change("policy", "mine", 1, {}), change("policy", "mine", 2, None)).of(POLICY)


def test_earlier_values_stay_as_they_were() -> None:
    before = after(change("policy", "mine", 1, {"tau": 0.5}))
    behind = before.applied(change("policy", "mine", 2, {"tau": 0.75}), "2")

    assert (before.policy("mine").slots.tau, behind.policy("mine").slots.tau) == (0.5, 0.75)
    assert (before.version, behind.version) == ("1", "2")


def test_a_repeated_change_moves_the_position_alone_and_an_older_one_not_even_that() -> None:
    once = after(change("policy", "mine", 1, {"tau": 0.5}))
    again = once.applied(change("policy", "mine", 1, {"tau": 0.75}), "2")

    assert (again.version, again.entries, again.of(POLICY)) == ("2", once.entries, once.of(POLICY))
    assert again.applied(change("policy", "mine", 1, {}), "0").version == "2"


def test_an_installation_has_built_in_policies_of_its_own() -> None:
    control = built_in(policies_for({"cart": Value(click=0.0)}, {"home": 0.1}))

    assert control.policy(DEFAULT_POLICY).values == {"cart": Value(click=0.0)}
    assert control.standings(POLICY, DEFAULT_POLICY)[0].document["new_items"] == {"home": 0.1}
    assert control.applied(change("policy", DEFAULT_POLICY, 1, {}), "1").policy(DEFAULT_POLICY).values == {}


def test_a_version_that_this_program_cannot_read_leaves_the_one_before() -> None:
    control = after(
        change("policy", "mine", 1, {"tau": 0.5}),
        change("policy", "mine", 2, {"tau": 0.6, "of_tomorrow": True}),
        change("policy", "new", 1, {"of_tomorrow": True}),
        change("of_tomorrow", "x", 1, {}),
    )

    assert control.policy("mine").slots.tau == 0.5
    assert "new" not in control.of(POLICY)
    assert control.entry("of_tomorrow", "x").revision == 1


def test_a_surface_whose_policy_is_gone_answers_by_the_default_one() -> None:
    assert BUILT_IN.policy("gone") == POLICIES[DEFAULT_POLICY]


def test_stored_entries_give_the_same_value_as_their_changes() -> None:
    control = after(change("surface", "home", 1, {"n": 3}), change("policy", "mine", 1, {"tau": 0.5}))

    assert BUILT_IN.loaded(control.entries.items(), control.version) == control


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_kind_reads_what_is_built_in(kind: Any) -> None:
    for document_id, document in kind.built_in.items():
        assert kind.model.model_validate(document).model_dump(mode="json") == document
        assert kind.complaint(document_id, kind.read(document_id, 1, document), BUILT_IN) == ""


def test_kinds_check_their_documents_against_the_others() -> None:
    assert "personal-1" in SURFACE.complaint("home", Surface("home", policy="nobody"), BUILT_IN)
    assert "home" in POLICY.complaint(DEFAULT_POLICY, None, BUILT_IN)
    assert POLICY.complaint("greedy-1", None, BUILT_IN) == ""
