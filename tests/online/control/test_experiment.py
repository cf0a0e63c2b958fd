from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from online.control.control import BUILT_IN, Control
from online.control.experiment import EXPERIMENT, ExperimentIn, split_since
from online.control.policy import POLICY
from schemas.control import ControlChange

TWO = [{"name": "now", "policy": "personal-1"}, {"name": "new", "policy": "thompson-1"}]
PLAIN = {"surface": "home", "variants": TWO, "control": "now"}


def with_experiment(control: Control, experiment_id: str, document: dict[str, Any]) -> Control:
    said = ExperimentIn.model_validate(document).model_dump(mode="json")
    revision = control.entry("experiment", experiment_id).revision + 1
    return control.applied(ControlChange(kind="experiment", id=experiment_id, revision=revision, document=said), "1")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"control": "old"}, "control: there is no variant of this name: use now, new"),
        ({"variants": TWO[:1]}, "at least 2 items"),
        ({"variants": [TWO[0], TWO[0]]}, "variants: one is named twice"),
        ({"variants": [TWO[0], {**TWO[1], "weight": 0}]}, "greater than 0"),
        ({"first_bucket": 500, "end_bucket": 500}, "end_bucket comes after first_bucket"),
        ({"end_bucket": 10_001}, "less than or equal to 10000"),
        ({"metrics": ["click_rate", "clicks"]}, "there is no metric of this name: use click_rate, clicks_per_slot"),
        ({"metrics": ["click_rate", "click_rate"]}, "metrics: one is named twice"),
        ({"unit": "session"}, "Input should be 'user'"),
    ],
)
def test_a_document_that_is_no_experiment_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExperimentIn.model_validate({**PLAIN, **document})


@pytest.mark.parametrize(
    ("experiment_id", "document", "complaint"),
    [
        ("mine", {}, ""),
        ("holdout", {}, "the id holdout is that of the users who are never learned from"),
        ("mine", {"variants": [TWO[0], {"name": "new", "policy": "gone"}]}, "variants.1.policy: there is none"),
        ("other", {"first_bucket": 4999}, "first_bucket: one has buckets 0 up to 5000 of the surface; stop it"),
        ("other", {"first_bucket": 4999, "status": "stopped"}, ""),
        ("other", {"first_bucket": 5000}, ""),
        ("other", {"surface": "cart"}, ""),
        ("one", {"end_bucket": 6000}, ""),
    ],
)
def test_experiments_of_a_surface_do_not_overlap_and_name_policies_there_are(
    experiment_id: str, document: dict[str, Any], complaint: str
) -> None:
    running = {} if experiment_id == "mine" else {"one": {**PLAIN, "end_bucket": 5000}}
    control = BUILT_IN
    for name, one in (*running.items(), (experiment_id, {**PLAIN, **document})):
        control = with_experiment(control, name, one)
    found = EXPERIMENT.complaint(experiment_id, control.of(EXPERIMENT)[experiment_id], control)

    assert found.startswith(complaint)
    assert bool(found) == bool(complaint)


def test_a_policy_that_an_experiment_answers_by_is_not_taken_away() -> None:
    control = BUILT_IN.applied(ControlChange(kind="policy", id="calm", revision=1, document={}), "1")
    variants = [TWO[0], {"name": "new", "policy": "calm"}]
    control = with_experiment(control, "trial", {**PLAIN, "variants": variants})

    assert POLICY.complaint("calm", None, control) == "experiments answer by it: delete trial first"
    assert POLICY.complaint("greedy-1", None, control) == ""


def test_units_are_counted_from_when_they_are_dealt_as_now() -> None:
    control, at = BUILT_IN, []

    def put(moment: float, **said: Any) -> None:
        nonlocal control
        document = ExperimentIn.model_validate({**PLAIN, **said}).model_dump(mode="json")
        revision = control.entry("experiment", "e").revision + 1
        change = ControlChange(kind="experiment", id="e", revision=revision, document=document, at=moment)
        control = control.applied(change, str(revision))
        at.append(split_since(control.entry("experiment", "e")))

    put(1.0)
    put(2.0, why="other words", metrics=["purchase_rate"], end_bucket=5000)
    put(3.0, variants=[TWO[0], {**TWO[1], "weight": 2}])
    put(4.0, variants=[TWO[0], {**TWO[1], "weight": 2}], status="stopped")
    put(5.0, variants=[TWO[0], {**TWO[1], "weight": 2}])
    put(6.0)
    put(7.0, salt="again")

    assert at == [1.0, 1.0, 3.0, 3.0, 3.0, 6.0, 7.0]
    back = ControlChange(kind="experiment", id="e", revision=8, is_rollback=True, at=8.0)
    assert split_since(control.applied(back, "8").entry("experiment", "e")) == 8.0
    assert split_since(BUILT_IN.entry("experiment", "e")) == 0.0
