from __future__ import annotations

import stat
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from headrace.api_keys import KeyRing, NoSuchKey, create_key, revoke_key, stored_keys
from headrace.keys import DataDirError
from headrace.settings import API_KEYS_FILE, Settings, SettingsError, load_settings
from serving.grant import Grant, Rate


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0  # each look is a second later
        return self.now


@pytest.fixture
def ring(tmp_path: Path) -> Callable[..., KeyRing]:
    def make(**settings: object) -> KeyRing:
        return KeyRing(Settings(data_dir=tmp_path, **settings), clock=Clock())  # type: ignore[arg-type]

    return make


def test_a_key_is_kept_as_its_hash_in_a_private_file(tmp_path: Path) -> None:
    key, stored = create_key(tmp_path, name="shop", scopes=["read"], now=5.0, expires_at=9.0, rate=Rate(2.0, 4))

    file = tmp_path / API_KEYS_FILE
    assert key.startswith("hrs_")
    assert key.encode() not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stored_keys(tmp_path) == [stored]
    assert stored.grant() == Grant(digest(key), frozenset({"read"}), expires_at=9.0, rate=Rate(2.0, 4))


def test_a_running_api_takes_a_new_key_and_refuses_a_revoked_one(tmp_path: Path, ring: Callable[..., KeyRing]) -> None:
    running = ring()
    before = running()
    key, _ = create_key(tmp_path, name="shop", scopes=["read"], now=5.0)
    made = running()
    revoke_key(tmp_path, "shop", now=6.0)
    revoked = running()

    assert before is None
    assert made is not None
    assert set(made) == {digest(key)}
    assert revoked == {}, "with its last key gone it is closed, not open to everybody"
    assert stored_keys(tmp_path)[0].revoked_at == 6.0
    assert ring()() == {}


def test_keys_of_the_settings_stay_beside_those_of_the_file(tmp_path: Path, ring: Callable[..., KeyRing]) -> None:
    running = ring(api_keys=("secret",), publishable_keys=("page",))
    key, _ = create_key(tmp_path, name="shop", scopes=["ingest"], now=5.0)

    grants = running()

    assert grants is not None
    assert grants[digest("secret")].scopes == {"ingest", "read", "admin"}
    assert grants[digest("page")].scopes == {"page"}
    assert grants[digest(key)].scopes == {"ingest"}


def test_a_damaged_file_leaves_the_keys_as_they_were(tmp_path: Path, ring: Callable[..., KeyRing]) -> None:
    running = ring()
    create_key(tmp_path, name="shop", scopes=["read"], now=5.0)
    known = running()
    (tmp_path / API_KEYS_FILE).write_text("{")

    assert running() == known
    with pytest.raises(DataDirError, match="does not hold API keys"):
        stored_keys(tmp_path)


def test_the_file_is_read_again_only_when_it_changes(tmp_path: Path, ring: Callable[..., KeyRing]) -> None:
    create_key(tmp_path, name="shop", scopes=["read"], now=5.0)
    running = ring()

    assert running() is running()


def test_keys_made_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    def make(number: int) -> None:
        create_key(tmp_path, name=f"key-{number}", scopes=["read"], now=5.0)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {key.name for key in stored_keys(tmp_path)} == {f"key-{number}" for number in range(8)}


def test_a_name_that_several_keys_have_revokes_none(tmp_path: Path) -> None:
    first = create_key(tmp_path, name="shop", scopes=["read"], now=5.0)[1]
    create_key(tmp_path, name="shop", scopes=["read"], now=5.0)

    with pytest.raises(NoSuchKey, match="2 keys"):
        revoke_key(tmp_path, "shop", now=6.0)
    assert revoke_key(tmp_path, first.id, now=6.0).sha256 == first.sha256
    with pytest.raises(NoSuchKey, match="no keys"):
        revoke_key(tmp_path, first.id, now=7.0)


def test_an_api_may_leave_loopback_once_there_is_a_keys_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="headrace keys create"):
        load_settings(data_dir=tmp_path, host="0.0.0.0")
    create_key(tmp_path, name="shop", scopes=["read"], now=5.0)

    assert load_settings(data_dir=tmp_path, host="0.0.0.0").host == "0.0.0.0"
