import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from online.adapters.chdb_files import BadFile, ChdbFiles
from replay.mapping import MAPPINGS, detect, find_mapping, mapping_named, mappings

READER = ChdbFiles()


@pytest.mark.parametrize("mapping", mappings().values(), ids=lambda mapping: mapping.name)
def test_every_mapping_is_found_by_its_own_columns(mapping) -> None:
    assert detect([*mapping.columns, "some_other_column"]) is mapping
    assert mapping.title
    assert "{file:String}" in mapping.events.sql


@pytest.mark.parametrize("path", sorted(MAPPINGS.glob("*.sql")), ids=lambda path: path.name)
def test_every_mapping_file_is_one_statement_whose_files_are_declared_parameters(path: Path) -> None:
    mapping = mappings()[path.name.split(".")[0]]
    select = mapping.items if path.name.endswith(".items.sql") else mapping.events
    assert select is not None

    statement = re.sub(r"--.*", "", select.sql)
    assert statement.lstrip().startswith(("SELECT", "WITH"))
    assert ";" not in statement
    assert set(re.findall(r"\{(\w+):String\}", statement)) <= {"file", *select.siblings}
    assert set(re.findall(r"file\(([^)]*)\)", statement)) <= {
        f"{{{name}:String}}" for name in ("file", *select.siblings)
    }


def test_one_column_less_is_not_detected() -> None:
    assert detect(["SessionId", "ItemId"]) is None


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(KeyError, match="yoochoose"):
        mapping_named("netflix")


def test_the_data_sets_names_are_aliases() -> None:
    names = ("serenade", "online-retail", "ml-latest-small")
    assert [mapping_named(name).name for name in names] == ["rsc15", "online_retail", "movielens"]


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda p: write(p / "a.csv", "session,pos,item\n1,0,5\n"), "yoochoose"),
        (lambda p: write(p / "a.ndjson", '{"session":1,"pos":0,"item":5}\n'), "yoochoose"),
        (lambda p: write(p / "a.jsonl", '\nno json\n{"eventType":"view"}\n{"timestamp":1}\n'), "events"),
    ],
    ids=["csv", "ndjson of another shape", "own ndjson behind a bad line, in camelCase"],
)
def test_the_format_is_told_from_the_file_itself(tmp_path: Path, make: Callable[[Path], Path], name: str) -> None:
    assert find_mapping(make(tmp_path), READER).name == name


def test_a_file_of_no_known_shape_names_its_columns_and_the_known_shapes(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "foo,bar\n1,2\n")

    with pytest.raises(BadFile, match=r"a\.csv: no format has its columns foo, bar; known are .*yoochoose"):
        find_mapping(file, READER)


def test_a_named_format_that_does_not_fit_names_the_missing_column(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"SessionId": [1], "ItemId": [2]}), file)

    with pytest.raises(BadFile, match="it lacks Time; it has SessionId, ItemId") as caught:
        find_mapping(file, READER, "rsc15")

    assert caught.value.column == "Time"


def test_a_file_without_any_json_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="holds no line that is a JSON object"):
        find_mapping(write(tmp_path / "a.ndjson", "[1]\n\xff\n"), READER)
