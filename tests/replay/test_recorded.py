import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from online.adapters.chdb_files import BadFile, ChdbFiles
from replay.recorded import BadRow, BadRows, read_events

READER = ChdbFiles()


def event(at: float, **fields: Any) -> dict[str, Any]:
    return {"event_type": "view", "user_id": "u", "item_id": f"i{at:g}", "timestamp": at} | fields


def ndjson(path: Path, *lines: dict[str, Any] | str) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def read(file: Path, **options: Any) -> tuple[list[Any], list[BadRow]]:
    bad = BadRows()
    return list(read_events(file, reader=READER, on_bad=bad, **options)), bad.first


def test_own_ndjson_is_read_in_the_order_of_its_lines(tmp_path: Path) -> None:
    file = ndjson(tmp_path / "e.ndjson", event(2.0, event_id="x"), "", event(1.0, sessionId="s"))

    recorded, bad = read(file)

    assert bad == []
    assert [(r.row, r.event.timestamp) for r in recorded] == [(1, 2.0), (3, 1.0)]
    assert recorded[0].event.event_id == "x"
    assert recorded[1].event.session_id == "s"


def test_a_malformed_line_is_named_with_its_field_and_the_rest_is_read(tmp_path: Path) -> None:
    file = ndjson(
        tmp_path / "e.ndjson",
        event(1.0),
        '{"event_type": "view", ',
        event(2.0, price=3),
        event(3.0, timestamp="yesterday"),
        event(4.0, event_type="sneeze"),
        {"event_type": "view", "item_id": "a", "timestamp": 1},
        event(5.0, timestamp=None),
        event(6.0),
    )

    recorded, bad = read(file)

    assert [r.row for r in recorded] == [1, 8]
    assert [(b.row, b.field) for b in bad] == [
        (2, "event"), (3, "price"), (4, "timestamp"), (5, "event_type"), (6, "event"), (7, "timestamp"),
    ]  # fmt: skip
    assert str(bad[2]) == (f"{file}:4: timestamp: a time is RFC 3339 text, epoch seconds or epoch milliseconds")
    assert "give user_id or visitor_id" in bad[4].reason


def test_bytes_that_are_no_text_and_overlong_lines_are_bad_rows_too(tmp_path: Path) -> None:
    file = tmp_path / "e.ndjson"
    good = json.dumps(event(1.0)).encode() + b"\n"
    file.write_bytes(good + b"\xff\xfe\n" + b'{"a":"' + b"x" * 3_000_000 + b'"}\n' + good)

    recorded, bad = read(file)

    assert [r.row for r in recorded] == [1, 4]
    assert [b.row for b in bad] == [2, 3]
    assert all(len(str(b)) < 1000 for b in bad)


def test_events_without_an_id_get_the_same_one_at_each_reading_and_no_two_the_same(tmp_path: Path) -> None:
    file = ndjson(tmp_path / "e.ndjson", event(1.0), event(1.0), event(2.0))

    first, second = ([r.event.event_id for r in read(file)[0]] for _ in range(2))

    assert first == second
    assert len(set(first)) == 3


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_own_parquet_is_read_in_time_order_with_its_row_numbers(tmp_path: Path) -> None:
    slate = [{"item_id": "a", "position": 1, "price": 2.5}, {"item_id": "b", "position": None, "price": None}]
    rows = [
        event(2.0, items=None, context={"device": "tv"}, properties=None),
        event(1.0, item_id=None, items=slate, context=None, properties={"deep": {"er": [1, 2]}}),
    ]
    file = parquet(tmp_path / "e.parquet", rows)

    recorded, bad = read(file)

    assert bad == []
    assert [r.row for r in recorded] == [2, 1]
    assert [i.model_dump(exclude_none=True) for i in recorded[0].event.items] == [
        {"item_id": "a", "position": 1, "price": 2.5}, {"item_id": "b"},
    ]  # fmt: skip
    assert recorded[0].event.properties == {"deep": {"er": [1, 2]}}
    assert recorded[1].event.context == {"device": "tv"}
    assert read(file)[0] == recorded


def test_own_parquet_with_a_time_column_and_a_bad_row(tmp_path: Path) -> None:
    file = tmp_path / "e.parquet"
    table = pa.table(
        {
            "event_type": ["view", "view", "view"],
            "user_id": ["u", None, "u"],
            "item_id": ["a", "b", "c"],
            "value": [1.0, 1.0, float("nan")],
            "timestamp": pa.array([1_500_000, 2_000_000, 3_000_000], type=pa.timestamp("us")),
        }
    )
    pq.write_table(table, file)

    recorded, bad = read(file)

    assert [r.event.timestamp for r in recorded] == [1.5]
    assert [(b.row, b.field) for b in bad] == [(2, "event"), (3, "value")]


def test_an_unknown_column_of_own_parquet_is_refused_at_once(tmp_path: Path) -> None:
    file = parquet(tmp_path / "e.parquet", [event(1.0, sesion_id="s")])

    with pytest.raises(BadFile, match="`sesion_id` is no field of an event; did you mean `session_id`") as caught:
        read(file)

    assert caught.value.column == "sesion_id"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("e.ndjson", "e.parquet"):
        with pytest.raises(BadFile, match=rf"{name}: .*[Nn]o such file"):
            read(tmp_path / name)


def test_times_move_together_so_that_the_first_event_yielded_is_at_the_start(tmp_path: Path) -> None:
    file = ndjson(tmp_path / "e.ndjson", event(5.0, user_id="other"), event(10.0), event(12.5))

    recorded, _ = read(file, start_at=1000.0, keep=lambda e: e.user_id == "u")

    assert [r.event.timestamp for r in recorded] == [1000.0, 1002.5]


def test_a_limit_counts_the_events_yielded_and_stops_reading(tmp_path: Path) -> None:
    file = ndjson(tmp_path / "e.ndjson", event(1.0), "bad", event(2.0), event(3.0), "bad")

    recorded, bad = read(file, limit=2)

    assert [r.row for r in recorded] == [1, 3]
    assert len(bad) == 1
    assert read(file, limit=0)[0] == []


def test_bad_rows_are_all_counted_but_only_the_first_are_kept(tmp_path: Path) -> None:
    bad = BadRows(keep=2)

    assert list(read_events(ndjson(tmp_path / "e.ndjson", event(1.0), *["no"] * 5), reader=READER, on_bad=bad))

    assert (bad.count, [b.row for b in bad.first]) == (5, [2, 3])
