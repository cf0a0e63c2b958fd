"""Every mapping on a small file of its shape; the real data sets are in test_mapping_data.py."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from online.adapters.chdb_files import BadFile, ChdbFiles
from replay.mapping import mappings
from replay.recorded import BadRow, BadRows, Recorded, read_events, read_items
from schemas.event import EventIn

READER = ChdbFiles()


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def times(*moments: datetime) -> pa.Array:
    """Return a column of times without a zone, as the data sets have them."""
    return pa.array(moments, type=pa.timestamp("us"))


def read(file: Path, mapping: str) -> tuple[list[Recorded], list[BadRow]]:
    bad = BadRows()
    recorded = list(read_events(file, reader=READER, on_bad=bad, mapping=mappings()[mapping]))
    return recorded, bad.first


def read_well(file: Path, mapping: str) -> list[EventIn]:
    recorded, bad = read(file, mapping)
    assert bad == []
    assert len({r.event.event_id for r in recorded}) == len(recorded)
    return [r.event for r in recorded]


def items(file: Path, mapping: str) -> list[dict[str, Any]]:
    bad = BadRows()
    found = list(read_items(file, reader=READER, on_bad=bad, mapping=mappings()[mapping]))
    assert bad.first == []
    return [item.model_dump(exclude_defaults=True) for item in found]


def test_yoochoose_clicks_get_times_that_interleave_sessions_in_their_order(tmp_path: Path) -> None:
    positions = [*range(8), 0, 1]
    file = parquet(tmp_path / "y.parquet", session=[3] * 8 + [4] * 2, pos=positions, item=list(range(10)))

    events = read_well(file, "yoochoose")

    assert [e.item_id for e in events] == ["0", "1", "2", "3", "4", "5", "6", "8", "7", "9"]
    assert events[0].model_dump(exclude_defaults=True) == {
        "event_id": "yoochoose-3-0",
        "event_type": "click",
        "visitor_id": "3",
        "session_id": "3",
        "item_id": "0",
        "timestamp": 1396310580.0,
    }
    assert items(file, "yoochoose") == []


def test_session_clicks_are_ordered_by_time_and_equal_rows_stay_two_events(tmp_path: Path) -> None:
    columns = {"SessionId": [2, 1, 1, 1], "ItemId": [9, 7, 7, 8], "Time": [30.5, 20.25, 20.25, 10.0]}
    events = read_well(parquet(tmp_path / "s.parquet", **columns), "rsc15")

    assert [(e.visitor_id, e.item_id, e.timestamp) for e in events] == [
        ("1", "8", 10.0), ("1", "7", 20.25), ("1", "7", 20.25), ("2", "9", 30.5),
    ]  # fmt: skip


def test_the_ids_of_session_clicks_do_not_depend_on_the_file_they_are_in(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "w.parquet", SessionId=[1, 2, 3], ItemId=[7, 7, 7], Time=[1.5, 2.5, 3.5])
    part = parquet(tmp_path / "p.parquet", SessionId=[3, 2], ItemId=[7, 7], Time=[3.5, 2.5])

    assert {e.event_id for e in read_well(part, "rsc15")} < {e.event_id for e in read_well(whole, "rsc15")}


def test_malformed_session_clicks_are_named_by_file_row_and_field(tmp_path: Path) -> None:
    file = tmp_path / "s.csv"
    file.write_text("SessionId,ItemId,Time\n1,7,20\n1,8,soon\n,9,30\n2,,40\n2,5,50\n")

    recorded, bad = read(file, "rsc15")

    assert [(r.row, r.event.item_id) for r in recorded] == [(1, "7"), (5, "5")]
    assert [(b.file, b.row, b.field) for b in bad] == [
        (str(file), 3, "event"), (str(file), 4, "event"), (str(file), 2, "timestamp"),
    ]  # fmt: skip


def trivago(path: Path) -> Path:
    actions = [
        ("search for destination", "Paris, France", None, None),
        ("interaction item image", "11", None, None),
        ("clickout item", "22", "11|22|33", "50|60|70"),
        ("interaction item info", "unknown", None, None),
        ("change of sort order", "price only", None, None),
        ("search for item", "44", None, None),
    ]
    kinds, references, impressions, prices = zip(*actions, strict=True)
    n = len(actions)
    return parquet(
        path,
        user_id=["U"] * n,
        session_id=["s"] * n,
        timestamp=[100, 101, 102, 103, 104, 105],
        step=[1, 2, 3, 4, 5, 5],
        action_type=list(kinds),
        reference=list(references),
        platform=["FR"] * n,
        city=["Paris, France"] * n,
        device=["mobile"] * n,
        current_filters=[None, None, "Hotel|WiFi", None, None, None],
        impressions=list(impressions),
        prices=list(prices),
    )


def test_a_trivago_click_out_is_the_list_shown_and_then_the_click_on_it(tmp_path: Path) -> None:
    events = read_well(trivago(tmp_path / "t.parquet"), "trivago")

    impression, click = events[2:4]
    assert [e.event_type for e in events] == [
        "search", "view", "impression", "click", "custom", "custom", "view",
    ]  # fmt: skip
    assert [(i.item_id, i.position, i.price) for i in impression.items] == [
        ("11", 1, 50.0), ("22", 2, 60.0), ("33", 3, 70.0),
    ]  # fmt: skip
    assert [(i.item_id, i.position, i.price) for i in click.items] == [("22", 2, 60.0)]
    assert impression.timestamp == click.timestamp == 102.0
    assert click.context == {"device": "mobile", "platform": "FR", "city": "Paris, France"}
    assert click.properties == {"action": "clickout item", "filters": "Hotel|WiFi"}


def test_trivago_actions_become_the_nearest_event_type(tmp_path: Path) -> None:
    events = read_well(trivago(tmp_path / "t.parquet"), "trivago")

    search, view, *_, unnamed, sort, by_name = events
    assert (search.item_id, search.properties["query"]) == (None, "Paris, France")
    assert (view.item_id, by_name.item_id) == ("11", "44")
    assert (unnamed.item_id, unnamed.properties["action"]) == (None, "interaction item info")
    assert sort.properties["choice"] == "price only"
    assert items(tmp_path / "t.parquet", "trivago") == [
        {"item_id": "11", "price": 50.0}, {"item_id": "22", "price": 60.0}, {"item_id": "33", "price": 70.0},
    ]  # fmt: skip


def invoices(path: Path) -> Path:
    rows: list[tuple[Any, ...]] = [
        ("1", "85123a", "HEART ", 6, datetime(2010, 1, 1, 9, tzinfo=UTC), 2.55, 17850),
        ("1", "85123A", "HEART", 2, datetime(2010, 1, 1, 9, tzinfo=UTC), 2.55, 17850),
        ("1", "POST", "POSTAGE", 1, datetime(2010, 1, 1, 9, tzinfo=UTC), 18.0, 17850),
        ("2", "21730", "HOLDER", -5, datetime(2010, 1, 1, 10, tzinfo=UTC), 0.0, None),  # a stock correction
        ("3", "21730", "HOLDER", 1, datetime(2010, 1, 1, 11, tzinfo=UTC), 4.25, None),
        ("C4", "85123A", "HEART", -6, datetime(2010, 1, 2, 9, tzinfo=UTC), 2.75, 17850),
    ]
    names = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID")
    columns: dict[str, Any] = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    columns["InvoiceDate"] = times(*columns["InvoiceDate"])
    columns["UnitPrice"] = pa.array(columns["UnitPrice"], type=pa.float32())
    return parquet(path, **columns, Country=["France"] * len(rows))


def test_invoice_lines_are_purchases_and_a_cancellation_takes_the_product_back(tmp_path: Path) -> None:
    events = read_well(invoices(tmp_path / "o.parquet"), "online_retail")

    lines = [(e.event_type, e.items[0].item_id, e.items[0].quantity, e.items[0].price) for e in events]
    assert lines == [
        ("purchase", "85123A", 6.0, 2.55),
        ("purchase", "85123A", 2.0, 2.55),
        ("purchase", "21730", 1.0, 4.25),
        ("remove_from_cart", "85123A", 6.0, 2.75),
    ]
    assert [e.value for e in events] == [15.3, 5.1, 4.25, None]
    assert [(e.user_id, e.visitor_id, e.session_id) for e in events[1:3]] == [
        ("17850", None, "1"), (None, "invoice-3", "3"),
    ]  # fmt: skip
    assert events[0].timestamp == 1262336400.0
    assert (events[0].currency, events[0].context) == ("GBP", {"country": "France"})


def test_online_retail_items_carry_the_last_price_and_description(tmp_path: Path) -> None:
    assert items(invoices(tmp_path / "o.parquet"), "online_retail") == [
        {"item_id": "21730", "price": 4.25, "attributes": {"title": "HOLDER"}},
        {"item_id": "85123A", "price": 2.75, "attributes": {"title": "HEART"}},
    ]


def test_movielens_ratings_carry_their_value_and_films_their_genres(tmp_path: Path) -> None:
    file = tmp_path / "ratings.csv"
    file.write_text("userId,movieId,rating,timestamp\n2,1,4.5,200\n1,9,2.0,100\n")
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n1,"Seven (a.k.a. Se7en), The",Crime|Thriller\n9,Nine,(no genres listed)\n'
    )

    events = read_well(file, "movielens")

    assert [(e.user_id, e.item_id, e.value, e.timestamp) for e in events] == [
        ("1", "9", 2.0, 100.0), ("2", "1", 4.5, 200.0),
    ]  # fmt: skip
    assert items(file, "movielens") == [
        {"item_id": "1", "categories": ["Crime", "Thriller"], "attributes": {"title": "Seven (a.k.a. Se7en), The"}},
        {"item_id": "9", "attributes": {"title": "Nine"}},
    ]


def baskets(folder: Path) -> Path:
    parquet(
        folder / "products.parquet",
        product_id=["10", "11"],
        manufacturer_id=["2", "3"],
        department=["GROCERY", "MISC"],
        brand=["National", "Private"],
        product_category=["FRZN ICE", None],
        product_type=["ICE - CRUSHED", None],
        package_size=["22 LB", None],
    )
    return parquet(
        folder / "transactions.parquet",
        household_id=["h", "h", "g"],
        store_id=["309"] * 3,
        basket_id=["b1", "b1", "b2"],
        product_id=["10", "11", "99"],
        quantity=[2.0, 0.0, 1.0],
        sales_value=[3.0, 0.0, 5.0],
        week=[1, 1, 1],
        transaction_timestamp=times(
            datetime(2017, 1, 2, 0, tzinfo=UTC),
            datetime(2017, 1, 2, 0, tzinfo=UTC),
            datetime(2017, 1, 1, 0, tzinfo=UTC),
        ),
    )


def test_complete_journey_lines_are_purchases_joined_with_their_product(tmp_path: Path) -> None:
    unknown, ice = read_well(baskets(tmp_path), "completejourney")

    assert (ice.user_id, ice.session_id, ice.value, ice.timestamp) == ("h", "b1", 3.0, 1483315200.0)
    assert ice.items[0].model_dump(exclude_none=True) == {"item_id": "10", "quantity": 2.0, "price": 1.5}
    assert ice.properties == {"department": "GROCERY", "category": "FRZN ICE", "brand": "National"}
    assert unknown.items[0].item_id == "99"
    assert unknown.properties == {}


def test_complete_journey_items_have_department_maker_label_and_median_price(tmp_path: Path) -> None:
    assert items(baskets(tmp_path), "completejourney") == [
        {
            "item_id": "10",
            "categories": ["GROCERY", "FRZN ICE"],
            "tags": ["national"],
            "brand": "maker 2",
            "price": 1.5,
            "attributes": {"title": "ICE - CRUSHED", "package_size": "22 LB"},
        },
        {"item_id": "11", "categories": ["MISC"], "tags": ["private"], "brand": "maker 3"},
    ]


def test_a_missing_sibling_is_named(tmp_path: Path) -> None:
    file = baskets(tmp_path)
    (tmp_path / "products.parquet").unlink()

    with pytest.raises(BadFile, match=r"products\.parquet: no such file"):
        read(file, "completejourney")
