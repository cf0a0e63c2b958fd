from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from headrace.keys import DataDirError, Keys, load_keys, prepare_data_dir, read_keys


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def is_one_line(error: pytest.ExceptionInfo[DataDirError]) -> bool:
    return "\n" not in str(error.value)


def test_a_new_data_directory_is_private(tmp_path: Path) -> None:
    directory = prepare_data_dir(tmp_path / "new" / "data")

    assert directory.is_absolute()
    assert mode(directory) == 0o700


def test_an_empty_directory_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    assert mode(prepare_data_dir(tmp_path)) == 0o700


def test_a_directory_shared_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "somebody's").touch()
    tmp_path.chmod(0o1777)

    with pytest.raises(DataDirError, match="choose a new or empty directory") as error:
        prepare_data_dir(tmp_path)
    assert mode(tmp_path) == 0o1777
    assert is_one_line(error)


def test_our_own_directory_is_closed_again_after_someone_opened_it(tmp_path: Path) -> None:
    load_keys(prepare_data_dir(tmp_path))
    tmp_path.chmod(0o755)

    assert mode(prepare_data_dir(tmp_path)) == 0o700


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    with pytest.raises(DataDirError, match="--data-dir") as error:
        prepare_data_dir(tmp_path / "data")
    assert is_one_line(error)


def test_a_place_where_nothing_can_be_created_is_refused() -> None:
    with pytest.raises(DataDirError, match="cannot use the data directory /proc/headrace"):
        prepare_data_dir("/proc/headrace")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(DataDirError, match="Permission denied"):
        prepare_data_dir(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_someone_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)

    with pytest.raises(DataDirError, match="belongs to user id 12345"):
        prepare_data_dir(tmp_path)


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    first = load_keys(tmp_path)

    assert load_keys(tmp_path) == first == read_keys(tmp_path / "keys.json")
    assert mode(tmp_path / "keys.json") == 0o600
    assert first.valkey != first.warehouse
    assert min(len(first.valkey), len(first.warehouse)) >= 32
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]


def test_first_starts_at_the_same_time_agree(tmp_path: Path) -> None:
    found: list[Keys] = []
    threads = [threading.Thread(target=lambda: found.append(load_keys(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({(keys.valkey, keys.warehouse) for keys in found}) == 1
    assert len(found) == 8


def test_keys_do_not_show_in_their_repr() -> None:
    assert "secret" not in repr(Keys(valkey="secret", warehouse="secret"))


def test_a_key_file_opened_to_others_is_closed_again(tmp_path: Path) -> None:
    load_keys(tmp_path)
    (tmp_path / "keys.json").chmod(0o644)
    load_keys(tmp_path)

    assert mode(tmp_path / "keys.json") == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", json.dumps({"valkey": 1, "warehouse": "x"})])
def test_a_damaged_key_file_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)

    with pytest.raises(DataDirError, match="delete it and start again") as error:
        load_keys(tmp_path)
    assert is_one_line(error)
