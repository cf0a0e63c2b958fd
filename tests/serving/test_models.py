from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from online.models.side_by_side import SIDE_BY_SIDE
from online.world import RANKER, RANKER_FILE, ranker_file

FIRST = SIDE_BY_SIDE[0]


def document(weight: float) -> bytes:
    return msgspec.json.encode({"weights": {"popularity": weight}, "intercept": 0.0})


@pytest.fixture
def shop(system: Any, eventually: Callable[..., Any]) -> Any:
    """A shop for which two of the models are published."""
    system.put_items("a", "b")
    files = {
        RANKER_FILE: document(1.0), ranker_file(FIRST): document(1.0), ranker_file("newton-1"): document(2.0),
    }  # fmt: skip
    lineage = {"positions": {}, "active": FIRST, "candidates": {FIRST: {"ndcg": 0.5}}}
    system.artifacts.publish(RANKER, files, lineage)
    eventually(lambda: system.worker.world.ranker_version == 1)
    return system


def post(shop: Any, path: str, status: int = 200) -> dict[str, Any]:
    answer = shop.client.post(path)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_what_is_activated_scores_until_it_is_rolled_back(shop: Any, eventually: Callable[..., Any]) -> None:
    assert shop.slate(user_id="1")["model_version"] == f"{FIRST}@1"

    assert post(shop, "/v1/models/newton/versions/1:activate")["lagging"] == []
    assert shop.slate(user_id="1")["model_version"] == "newton-1@1"
    slate = shop.slate(user_id="1")
    logged = eventually(lambda: shop.logged_slates().get(slate["recommendation_id"]))
    assert logged.model_version == "newton-1@1"
    post(shop, "/v1/models/newton/versions/1:rollback")
    assert shop.slate(user_id="1")["model_version"] == f"{FIRST}@1"


def test_a_policy_may_name_its_model(shop: Any) -> None:
    shop.client.put("/v1/policies/mine", json={"ranker": "newton-1"})

    assert shop.slate(user_id="1", policy="mine")["model_version"] == "newton-1@1"
    assert shop.slate(user_id="1")["model_version"] == f"{FIRST}@1"


def test_models_are_listed_with_their_figures(shop: Any) -> None:
    found = shop.client.get("/v1/models").json()

    models = {model["id"]: model for model in found["models"]}
    assert set(models) == {FIRST, "newton-1"}
    assert found["artifact_version"] == 1
    assert (models[FIRST]["active"], models[FIRST]["published"], models[FIRST]["figures"]) == (
        True, True, {"ndcg": 0.5},
    )  # fmt: skip
    assert (models["newton-1"]["name"], models["newton-1"]["version"]) == ("newton", 1)
    assert (models["newton-1"]["active"], models["newton-1"]["published"]) == (False, True)


def test_what_cannot_serve_is_not_activated(shop: Any) -> None:
    assert post(shop, "/v1/models/nobody/versions/1:activate", 404)["code"] == "no_model"
    assert post(shop, "/v1/models/pairwise/versions/1:activate", 409)["code"] == "not_published"
    assert post(shop, "/v1/models/newton/versions/1:rollback", 409)["code"] == "not_active"
    name, _, version = FIRST.rpartition("-")
    assert post(shop, f"/v1/models/{name}/versions/{version}:rollback", 409)["code"] == "no_version_before"
