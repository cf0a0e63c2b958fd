from __future__ import annotations

from online.core.record import TYPE_CODES, UserRecord
from online.core.rules.request_fields import RequestFields
from online.core.rules.vocabulary import FIELDS

RECORD = UserRecord(
    labels=["vip"],
    counts={TYPE_CODES["click"]: 3, TYPE_CODES["impression"]: 9},
    affinities=[{}, {"shoes": [1.0, 1.0, 1.0]}, {"acme": [0.0, 0.0, 0.5], "bolt": [-1.0, -1.0, -1.0]}, {}],
)


def fields(user_key: str | None = "u7") -> RequestFields:
    return RequestFields(RECORD, user_key, "home", 12, "a", {"device": "tv"}, 36_000.0)


def test_what_is_known_of_who_asks_and_of_the_request_can_be_asked_for() -> None:
    asked = {name: fields()(name) for name in FIELDS if not name.startswith(("item.", "context."))}

    assert asked == {
        "user.user_id": "7",
        "user.labels": ["vip"],
        "user.liked_brands": ["acme"],
        "user.liked_categories": ["shoes"],
        "user.acts": 3.0,
        "surface": "home",
        "request.n": 12.0,
        "request.item_id": "a",
        "request.hour": 10.0,
    }


def test_a_visitor_has_no_user_id_and_what_the_context_lacks_is_not_there() -> None:
    assert [fields(key)("user.user_id") for key in ("v7", None)] == [None, None]
    assert (fields()("context.device"), fields()("context.budget")) == ("tv", None)
