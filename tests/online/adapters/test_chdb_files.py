import gc
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from online.adapters.chdb_files import BadFile, ChdbFiles

READER = ChdbFiles()
ALL = "SELECT * FROM file({file:String})"


def parquet(path: Path, **columns: list[object]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def children() -> set[str]:
    found = subprocess.run(
        ["ps", "-ww", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=True
    )
    return {line for line in found.stdout.splitlines() if "chdb_files" in line}


def test_rows_of_parquet_csv_and_ndjson_are_the_same(tmp_path: Path) -> None:
    expected = [{"a": 1, "b": "x"}, {"a": 2, "b": "ü|'\""}]
    columns: dict[str, list[object]] = {"a": [1, 2], "b": ["x", "ü|'\""]}
    files = [parquet(tmp_path / "f.parquet", **columns), tmp_path / "f.csv", tmp_path / "f.ndjson"]
    files[1].write_text('a,b\n1,x\n2,"ü|\'"""\n')
    files[2].write_text('{"a":1,"b":"x"}\n{"a":2,"b":"ü|\'\\""}\n')

    assert [list(READER.rows(ALL, {"file": file})) for file in files] == [expected] * 3
    assert [READER.columns(file) for file in files] == [["a", "b"]] * 3


def test_a_quote_in_the_file_name_is_data_and_never_sql(tmp_path: Path) -> None:
    file = parquet(tmp_path / "it's') UNION ALL SELECT 1 --.parquet", a=[5])

    assert list(READER.rows(ALL, {"file": file})) == [{"a": 5}]


def test_siblings_are_parameters_of_their_own(tmp_path: Path) -> None:
    left = parquet(tmp_path / "l.parquet", k=[1, 2], v=["a", "b"])
    right = parquet(tmp_path / "r.parquet", k=[2], w=["c"])
    sql = "SELECT v, w FROM file({file:String}) AS l JOIN file({other:String}) AS r ON l.k = r.k"

    assert list(READER.rows(sql, {"file": left, "other": right})) == [{"v": "b", "w": "c"}]


def test_not_a_number_stays_visible_and_times_are_utc_text(tmp_path: Path) -> None:
    file = tmp_path / "f.parquet"
    moment = pa.array([1_500_000], type=pa.timestamp("us"))
    pq.write_table(pa.table({"x": pa.array([float("nan")]), "t": moment}), file)

    assert list(READER.rows(ALL, {"file": file})) == [{"x": "nan", "t": "1970-01-01T00:00:01.500000Z"}]


def test_a_bad_csv_cell_becomes_null_and_the_rows_behind_it_are_read(tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    rows = [f"{i},{i}" for i in range(30_000)] + ["7,oops", "8,8"]  # behind what type inference looks at
    file.write_text("a,b\n" + "\n".join(rows) + "\n")

    *_, bad, last = READER.rows(ALL, {"file": file})

    assert (bad, last) == ({"a": 7, "b": None}, {"a": 8, "b": 8})


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.parquet", None, "no such file"),
        ("wrong.parquet", b"a,b\n1,2\n", "cannot be read as Parquet"),
        ("empty.csv", b"", "cannot be read as CSV"),
        ("wrong.ndjson", b"no json\n", "cannot be read as"),
        ("glob*.csv", b"a\n1\n", "takes * ? { } in a path for a pattern"),
    ],
)
def test_an_unreadable_file_is_one_clear_line(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(BadFile) as caught:
        READER.columns(file)

    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_folder_is_refused_instead_of_read_file_by_file(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="not a regular file"):
        READER.columns(tmp_path)


def test_an_unknown_column_is_named(tmp_path: Path) -> None:
    file = parquet(tmp_path / "f.parquet", a=[1])

    with pytest.raises(BadFile, match=r"f\.parquet: has no column `b`") as caught:
        list(READER.rows("SELECT src.b FROM file({file:String}) AS src", {"file": file}))

    assert caught.value.column == "b"


def test_an_error_in_the_middle_comes_after_the_rows_before_it(tmp_path: Path) -> None:
    file = parquet(tmp_path / "f.parquet", a=list(range(100_000)))
    rows = READER.rows(
        # Small blocks: the engine reads only a few ahead of us, and its error overtakes those.
        "SELECT a, throwIf(a = 90000) FROM file({file:String}) "
        "SETTINGS max_threads = 1, input_format_parquet_max_block_size = 1000",
        {"file": file},
    )
    read: list[object] = []

    with pytest.raises(BadFile, match="throwIf"):
        read.extend(rows)

    assert 0 < len(read) <= 90_000


def test_a_reader_that_stops_early_leaves_no_process() -> None:
    rows = READER.rows("SELECT number FROM numbers(100000000)", {})
    assert next(rows) == {"number": 0}
    assert len(children()) == 1

    rows.close()

    assert children() == set()


def test_a_reader_that_is_dropped_leaves_no_process() -> None:
    rows = READER.rows("SELECT number FROM numbers(100000000)", {})
    next(rows)

    del rows
    gc.collect()

    assert children() == set()


def test_the_child_ends_when_its_parent_is_killed() -> None:
    script = (
        "from online.adapters.chdb_files import ChdbFiles\n"
        "import os, signal\n"
        "next(ChdbFiles().rows('SELECT number, sleepEachRow(0.001) FROM numbers(1000000000)"
        " SETTINGS max_block_size = 1', {}))\n"
        "import subprocess\n"
        "print(subprocess.run(['ps', '-o', 'pid=', '--ppid', str(os.getpid())], capture_output=True,"
        " text=True).stdout.split()[0], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    out, _ = parent.communicate(timeout=60)

    deadline = 30
    while deadline and _runs(int(out)):
        deadline -= 1
        subprocess.run(["sleep", "0.1"], check=True)

    assert not _runs(int(out))


def _runs(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().split(")")[-1].split()[0] != "Z"


def test_memory_of_the_reading_process_stays_flat_over_a_large_result(tmp_path: Path) -> None:
    script = (
        "import resource\n"
        "from online.adapters.chdb_files import ChdbFiles\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "rows = ChdbFiles().rows('SELECT number, repeat(toString(number), 20) AS s FROM numbers(400000)', {})\n"
        "next(rows)\n"
        "before = peak()\n"
        "n = sum(1 for _ in rows)\n"
        "print(n, peak() - before)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    read, grown_kib = map(int, ran.stdout.split())

    assert read == 399_999
    assert grown_kib < 20_000


def test_a_sort_above_the_memory_limit_spills_instead_of_failing() -> None:
    small = ChdbFiles(memory_bytes=300_000_000)
    sql = (
        "SELECT number, repeat(toString(cityHash64(number)), 20) AS s FROM numbers(1000000) ORDER BY s LIMIT 900000, 1"
    )

    assert len(list(small.rows(sql, {}))) == 1


def test_the_engine_is_never_loaded_into_the_reading_process() -> None:
    script = (
        "import sys\n"
        "from online.adapters.chdb_files import ChdbFiles\n"
        "assert list(ChdbFiles().rows('SELECT 1 AS a', {})) == [{'a': 1}]\n"
        "assert not [m for m in sys.modules if m == 'chdb' or m.startswith('chdb.')]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
