from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from online.core.features import NAMES
from online.core.propensity import redrawn
from online.core.ranker import PRIOR_RANKER, Ranker
from online.core.slate_features import slate_features
from online.core.step import Caps
from schemas.slate import decode_slate, encode_slate

Wait = Callable[..., Any]
SHOES, BOOKS = [f"shoe-{n}" for n in range(12)], [f"book-{n}" for n in range(12)]


@pytest.fixture
def shop(system: Any, eventually: Wait) -> Any:
    """A shop of shoes and books in which nothing has happened yet."""
    system.put_items(*SHOES, categories=["shoes"], brand="acme", price=50.0, attributes={"size": 42})
    system.put_items(*BOOKS, categories=["books"], brand="press", price=10.0)
    eventually(lambda: len(system.worker.world.tops.new.everybody) == 24)
    return system


def send(shop: Any, *events: dict[str, Any]) -> None:
    assert shop.client.post("/v1/events", json={"events": list(events)}).json()["rejected"] == 0


def event(item_id: str, event_type: str = "click", user_id: str = "1", **fields: Any) -> dict[str, Any]:
    return {"event_type": event_type, "user_id": user_id, "item_id": item_id, **fields}


def folded(shop: Any, wait: Wait, user_id: str, events: int) -> Any:
    """Wait until a record has so many events, and return it."""

    def known() -> Any:
        record = shop.worker.record(f"u{user_id}")
        return record if record and sum(record.counts.values()) >= events else None

    return wait(known)


def shown(slate: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in slate["items"]]


def test_a_click_changes_the_next_slate(shop: Any, eventually: Wait) -> None:
    before = shop.slate(user_id="1", n=6, exploration=0.0, seed=1)
    send(shop, event("shoe-0"), event("shoe-1"))
    folded(shop, eventually, "1", 2)

    after = shop.slate(user_id="1", n=6, exploration=0.0, seed=1)

    assert before["fallback"]["rung"] == "popularity"
    assert before["state_as_of"] == {"position": None, "lag_ms": None}
    assert after["fallback"] is None
    assert after["state_as_of"]["position"]
    assert set(shown(after)) != set(shown(before))
    assert sum(item.startswith("shoe") for item in shown(after)) >= 5


def test_a_clicked_item_brings_those_of_the_sessions_it_was_in(shop: Any, eventually: Wait) -> None:
    for user in range(2, 12):
        send(shop, event("shoe-0", user_id=str(user)), event("book-7", user_id=str(user)))
    eventually(lambda: shop.worker.world.sessions.n_sessions >= 10)

    items = shop.slate(session_items=["shoe-0"], n=3, exploration=0.0, seed=2)["items"]

    (book,) = [item for item in items if item["item_id"] == "book-7"]
    assert book["source"] == "session_knn"
    assert book["reason"] == {
        "code": "seen_together", "text": "Often seen together with shoe-0", "item_id": "shoe-0",
    }  # fmt: skip


def test_positions_count_from_1_and_propensities_are_probabilities(shop: Any) -> None:
    slate = shop.slate(user_id="1", n=10)

    assert [item["position"] for item in slate["items"]] == list(range(1, 11))
    assert all(0.0 < item["propensity"] <= 1.0 for item in slate["items"])
    assert len(set(shown(slate))) == 10
    assert all(item["reason"]["text"] for item in slate["items"])


@pytest.mark.parametrize("seed", range(5))
def test_what_may_not_be_shown_never_is(shop: Any, eventually: Wait, seed: int) -> None:
    send(
        shop,
        event("shoe-0"),
        event("shoe-1", "hide"),
        event("shoe-2", "not_interested"),
        event("shoe-3", "purchase"),
        event("shoe-4", "view"),
    )
    folded(shop, eventually, "1", 5)
    shop.client.request("DELETE", "/v1/items/book-0")
    shop.client.request("PATCH", "/v1/items/book-1", json={"available": False})
    shop.client.request("PATCH", "/v1/items/book-2", json={"available_to": 1.0})

    ask = {"user_id": "1", "n": 100, "exploration": 1.0, "seed": seed}
    all_but_hidden = set(shown(shop.slate(**ask)))
    bought_too = set(shown(shop.slate(**ask, exclude_purchased=False)))
    unseen = set(shown(shop.slate(**ask, exclude_seen=True)))
    excluded = set(shown(shop.slate(**ask, exclude_item_ids=["shoe-5", "no such item"])))

    never = {"shoe-1", "shoe-2", "shoe-4", "book-0", "book-1", "book-2"}  # shoe-4 is on the user's screen
    assert all_but_hidden == {*SHOES, *BOOKS} - never - {"shoe-3"}
    assert bought_too == all_but_hidden | {"shoe-3"}
    assert unseen == all_but_hidden - {"shoe-0"}
    assert excluded == all_but_hidden - {"shoe-5"}


def test_what_was_removed_is_logged(shop: Any, eventually: Wait) -> None:
    send(shop, event("shoe-0"), event("shoe-1", "hide"))
    folded(shop, eventually, "1", 2)

    slate = shop.slate(user_id="1", n=100, exclude_item_ids=["shoe-5", "x" * 200])

    logged = eventually(lambda: shop.logged_slates().get(slate["recommendation_id"]))
    assert logged.removed == {"hidden": 1, "excluded": 1, "current": 1}
    assert logged.request == {"user_id": "1", "n": 100, "exclude_item_ids": ["shoe-5"], "deadline_ms": 60_000}


def test_the_rungs_of_the_ladder_are_named(shop: Any, eventually: Wait) -> None:
    stranger = shop.slate(user_id="9")["fallback"]
    session = shop.slate(user_id="9", session_items=["shoe-1"])["fallback"]
    nobody = shop.slate(session_items=["shoe-1"])["fallback"]
    send(shop, event("shoe-0"))
    folded(shop, eventually, "1", 1)

    assert stranger == {"rung": "popularity", "why": "no acts of this user yet"}
    assert session == {"rung": "session", "why": "no acts of this user yet"}
    assert nobody == {"rung": "session", "why": "the request names no user"}
    assert shop.slate(user_id="1")["fallback"] is None


def test_when_no_retriever_finds_anything_the_static_list_answers(shop: Any) -> None:
    slate = shop.slate(user_id="9", policy="popularity-1", n=5)

    assert slate["fallback"] == {"rung": "static", "why": "no retriever found anything that may be shown"}
    assert {item["source"] for item in slate["items"]} == {"static"}
    assert len(slate["items"]) == 5
    assert not slate["ope_valid"]


def test_with_the_state_store_away_a_slate_is_still_returned(shop: Any, eventually: Wait) -> None:
    send(shop, event("shoe-0"))
    folded(shop, eventually, "1", 1)
    shop.state.is_off = True

    alone = shop.slate(user_id="1")
    with_session = shop.slate(user_id="1", session_items=["shoe-0"])

    assert len(alone["items"]) == len(with_session["items"]) == 10
    assert alone["fallback"]["rung"] == "popularity"
    assert with_session["fallback"]["rung"] == "session"
    for slate in (alone, with_session):
        assert "no user record" in slate["fallback"]["why"]
        assert not slate["ope_valid"]
    logged = eventually(lambda: shop.logged_slates().get(alone["recommendation_id"]))
    assert "no user record" in logged.ope_why


def test_a_record_that_cannot_be_read_costs_the_personal_rung_and_nothing_else(shop: Any) -> None:
    claim = shop.state.port.claim("state", shop.worker.partition("u1"))
    writes = {"user": {"u1": b"?"}}
    shop.state.port.commit("state", shop.worker.partition("u1"), claim.generation, writes, b"")

    assert shop.slate(user_id="1")["fallback"]["rung"] == "popularity"
    assert shop.client.get("/v1/users/1").status_code == 503


def test_without_items_the_slate_is_empty_and_logged(system: Any, eventually: Wait) -> None:
    slate = system.slate(user_id="1")

    assert slate["items"] == []
    assert slate["fallback"]["rung"] == "static"
    logged = eventually(lambda: system.logged_slates().get(slate["recommendation_id"]))
    assert logged.slots == []


def test_a_slate_is_as_long_as_the_catalogue_at_most(system: Any) -> None:
    system.put_items("a", "b", "c")

    assert sorted(shown(system.slate(user_id="1", n=100))) == ["a", "b", "c"]


def test_a_seed_that_is_given_repeats_the_slate_and_spoils_it_for_evaluation(shop: Any) -> None:
    moment = time.time()
    first, second, other = (shop.slate(user_id="1", n=8, seed=seed, timestamp=moment) for seed in (5, 5, 6))
    drawn = shop.slate(user_id="1", n=8)

    assert shown(first) == shown(second) != shown(other)
    assert [i["propensity"] for i in first["items"]] == [i["propensity"] for i in second["items"]]
    assert not first["ope_valid"]
    assert drawn["ope_valid"]


def test_every_draw_can_be_recomputed_exactly_from_the_logged_slate(shop: Any, eventually: Wait) -> None:
    send(shop, event("shoe-0"), event("book-1", "add_to_cart"), event("shoe-2", "hide"))
    folded(shop, eventually, "1", 3)
    asks: list[dict[str, Any]] = [
        {"user_id": "1"},
        {"user_id": "1", "n": 100, "diversity": 5.0, "exploration": 0.5},
        {"user_id": "1", "exploration": 1.0, "exclude_seen": True},
        {"visitor_id": "v", "session_items": ["shoe-3", "nothing"], "diversity": 0.0},
        {"item_id": "book-3", "policy": "similar-1", "surface": "item"},
        {"user_id": "2", "policy": "popularity-1", "exploration": 0.0},
        {"user_id": "1", "policy": "thompson-1"},
        {"user_id": "1", "seed": 2**63 - 1, "context": {"n": 2**63 - 1, "x": 1e300}, "return_properties": ["brand"]},
    ]
    answers = [shop.slate(**ask) for ask in asks]

    eventually(lambda: len(shop.logged_slates()) == len(asks))
    logged = shop.logged_slates()

    for answer in answers:
        slate = logged[answer["recommendation_id"]]
        draw = redrawn(slate)
        assert (draw.slots.tolist(), draw.propensities.tolist()) == (slate.slots, slate.propensities)
        assert [slate.candidates[i] for i in slate.slots] == shown(answer)
        assert slate.propensities == [item["propensity"] for item in answer["items"]]
        assert slate.decision_id == answer["decision_id"]
        assert slate.ope_valid == answer["ope_valid"]


def test_a_logged_slate_holds_what_its_ranking_read(shop: Any, eventually: Wait) -> None:
    send(shop, event("shoe-0"))
    record = folded(shop, eventually, "1", 1)
    eventually(lambda: shop.worker.world.table.applied)
    answer = shop.slate(user_id="1")

    slate = eventually(lambda: shop.logged_slates().get(answer["recommendation_id"]))

    features = slate_features(slate)
    np.testing.assert_allclose(PRIOR_RANKER.utilities(features), np.frombuffer(slate.utilities))
    assert slate.record_position == record.position == answer["state_as_of"]["position"]
    assert slate.session_items == ["shoe-0"]
    assert slate.updates == shop.worker.world.table.applied
    assert set(slate.stages_us) >= {"record", "retrieve", "eligibility", "features", "score", "slots"}
    assert slate.recommendation_id.startswith(f"{slate.partition:x}-")
    assert decode_slate(encode_slate(slate)) == slate


def test_a_slate_is_ranked_described_and_logged_by_one_version_of_the_model(shop: Any) -> None:
    weights = np.zeros(len(NAMES))
    weights[NAMES.index("age")] = 2.0
    shop.worker.world.ranker, shop.worker.world.ranker_version = Ranker("7", weights, 0.5), 7

    slate = shop.slate(user_id="1", explain=True)

    assert slate["model_version"] == "7"
    for item in slate["items"]:
        assert sum(item["features"].values()) + 0.5 == pytest.approx(item["score"], abs=1e-4)
        assert {name for name, value in item["features"].items() if value} == {"age"}


def test_the_world_of_a_request_keeps_its_ranker_when_a_newer_one_is_installed(shop: Any) -> None:
    world = shop.worker.world.frozen()

    shop.worker.world.ranker = Ranker("8", np.zeros(len(NAMES)), 0.0)

    assert world.ranker is PRIOR_RANKER
    assert world.table is shop.worker.world.table


def test_properties_come_as_asked(shop: Any) -> None:
    (item,) = shop.slate(item_id="shoe-0", n=1, return_properties=["brand", "size", "price", "none", "available"])[
        "items"
    ]

    properties = item["properties"]
    if item["item_id"].startswith("shoe"):
        assert properties == {"brand": "acme", "size": 42, "price": 50.0, "available": True}
    else:
        assert properties == {"brand": "press", "price": 10.0, "available": True}


def test_a_filter_says_what_may_be_shown_and_boosts_what_should_be(shop: Any, eventually: Wait) -> None:
    cheap = shop.slate(user_id="1", n=12, filter="item.price < context.budget", context={"budget": 20})
    boosts = [{"where": "item.attributes.size == 42", "factor": 100.0}]
    boosted = shop.slate(user_id="1", n=3, boost=boosts, explain=True, exploration=0.0)

    assert sorted(shown(cheap)) == sorted(BOOKS)
    assert {item["item_id"].split("-")[0] for item in boosted["items"]} == {"shoe"}
    assert all(item["features"]["rules"] == pytest.approx(np.log(100.0), abs=1e-6) for item in boosted["items"])
    logged = eventually(lambda: shop.logged_slates().get(cheap["recommendation_id"]))
    assert [rule.rule_id for rule in logged.rules] == ["request.filter"]
    assert logged.removed["rule:request.filter"] == len(SHOES)


@pytest.mark.parametrize(
    ("given", "field", "message"),
    [
        ({"filter": "item.prize < 3"}, "filter", "column 1: there is no item.prize: did you mean item.price?"),
        ({"filter": "__import__('os')"}, "filter", "column 1: the only function is has(field)"),
        (
            {"boost": [{"where": "true", "factor": 2}, {"where": "item.brand", "factor": 2}]},
            "boost.1.where",
            "column 1: item.brand is a string, no condition: compare it with something",
        ),
    ],
)
def test_an_expression_that_cannot_be_used_is_answered_with_what_is_wrong_where(
    shop: Any, given: dict[str, Any], field: str, message: str
) -> None:
    response = shop.client.post("/v1/recommendations", json={"user_id": "1", **given})

    assert response.status_code == 422
    assert response.json()["errors"] == [{"code": "invalid_expression", "field": field, "message": message}]


def test_a_curl_gets_the_same_kind_of_slate(shop: Any) -> None:
    answer = shop.client.get("/v1/recommendations/1?n=4&surface=mail")

    assert answer.status_code == 200
    assert len(answer.json()["items"]) == 4


def test_similar_items_leave_out_the_item_itself(shop: Any) -> None:
    answer = shop.client.get("/v1/items/shoe-0/similar?n=23")

    assert answer.status_code == 200
    assert sorted(shown(answer.json())) == sorted({*SHOES, *BOOKS} - {"shoe-0"})
    assert answer.json()["policy_id"] == "similar-1"
    assert shop.client.get("/v1/items/nothing/similar").status_code == 404


def test_the_count_has_the_names_other_systems_give_it(shop: Any) -> None:
    for name in ("n", "count", "num_results", "numResults", "page_size", "pageSize"):
        assert len(shop.slate(user_id="1", **{name: 3})["items"]) == 3


def test_an_unknown_policy_names_those_there_are(shop: Any) -> None:
    answer = shop.client.post("/v1/recommendations", json={"user_id": "1", "policy": "best"})

    assert answer.status_code == 422
    assert "personal-1" in answer.json()["detail"]
    assert "best" not in answer.text


@pytest.mark.parametrize("moment", [0, 1.0, "1970-01-02T00:00:00Z", 4_102_444_800, 1_000_000_000_000])
def test_any_moment_can_be_ranked_for(shop: Any, eventually: Wait, moment: Any) -> None:
    send(shop, event("shoe-0"), event("book-0", user_id="2"))
    folded(shop, eventually, "1", 1)
    eventually(lambda: len(shop.worker.world.table.applied) >= 1)

    slate = shop.slate(user_id="1", timestamp=moment)

    logged = eventually(lambda: shop.logged_slates().get(slate["recommendation_id"]))
    assert np.isfinite(np.frombuffer(logged.utilities)).all()
    assert logged.time <= logged.served_at


def test_a_slate_that_cannot_be_kept_is_answered_but_not_for_evaluation(shop: Any) -> None:
    shop.log.is_off = True
    shop.worker.appender._spool._cap = 10

    slate = shop.slate(user_id="1")

    assert len(slate["items"]) == 10
    assert not slate["ope_valid"]


def test_slates_wait_in_the_spool_while_the_log_is_away(shop: Any, eventually: Wait) -> None:
    shop.log.is_off = True
    slate = shop.slate(user_id="1")
    assert slate["ope_valid"]
    assert shop.worker.appender.spooled_bytes > 0

    shop.log.is_off = False

    eventually(lambda: slate["recommendation_id"] in shop.logged_slates())


def test_a_logged_slate_is_small_whatever_was_asked(shop: Any, eventually: Wait) -> None:
    plain = shop.slate(user_id="1")
    wordy = shop.slate(user_id="1", exclude_item_ids=[f"{n:0256d}" for n in range(1000)])

    def sizes() -> list[int]:
        logged = shop.logged_slates()
        ids = (plain["recommendation_id"], wordy["recommendation_id"])
        return [len(encode_slate(logged[i])) for i in ids] if all(i in logged for i in ids) else []

    small, large = eventually(sizes)
    assert large < small + 1000
    assert Caps().seen  # what the log leaves out of the request, the masks hold


def test_a_hidden_item_stays_hidden_in_every_rung(shop: Any, eventually: Wait) -> None:
    send(shop, event("shoe-1", "hide"))
    folded(shop, eventually, "1", 1)

    for ask in ({}, {"session_items": ["shoe-0"]}, {"policy": "popularity-1"}, {"item_id": "shoe-0"}):
        assert "shoe-1" not in shown(shop.slate(user_id="1", n=100, **ask)), ask


def test_an_answer_fits_its_schema(shop: Any) -> None:
    document = shop.client.get("/openapi.json").json()
    answer = shop.slate(user_id="1", explain=True, return_properties=["brand"])

    schema = document["components"]["schemas"]["SlateOut"]
    assert set(schema["required"]) <= answer.keys() <= set(schema["properties"])
    item = document["components"]["schemas"]["SlateItem"]
    assert set(item["required"]) <= answer["items"][0].keys() <= set(item["properties"])
    assert msgspec.json.encode(answer)


def test_a_slate_for_a_robot_is_served_marked_and_counted(shop: Any, eventually: Wait) -> None:
    answer = shop.slate(user_id="1", context={"user_agent": "Googlebot/2.1"})
    crawled = shop.client.get("/v1/recommendations/1", headers={"user-agent": "bingbot/2.0"}).json()

    assert shown(answer)
    assert not answer["ope_valid"]
    for one in (answer, crawled):
        assert eventually(lambda one=one: shop.logged_slates().get(one["recommendation_id"])).robot
    assert "headrace_robot_slates_total 2.0" in shop.client.get("/metrics").text
