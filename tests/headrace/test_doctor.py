from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from headrace.doctor import Check, checks
from headrace.lock import take_lock
from headrace.settings import Settings
from headrace.supervisor import free_port


def found(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in checks(settings)}


def test_a_machine_that_will_do_is_found_well_in_the_order_of_a_start(tmp_path: Path) -> None:
    looked_at = checks(Settings(data_dir=tmp_path / "data", port=free_port()))

    assert [check.name for check in looked_at] == ["python", "data_dir", "disk", "port", "valkey"]
    assert all(check.is_ok for check in looked_at if check.name != "disk"), looked_at


def test_a_data_directory_in_use_is_told_with_its_process(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=free_port())
    checks(settings)
    held = take_lock(tmp_path / "data")

    assert f"process {os.getpid()}" in found(settings)["data_dir"].finding
    os.close(held)
    assert found(settings)["data_dir"].finding.endswith("free")


def test_a_data_directory_that_cannot_be_used_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check = found(Settings(data_dir=tmp_path / "file", port=free_port()))["data_dir"]

    assert not check.is_ok
    assert "--data-dir" in check.finding


def test_a_port_that_something_else_holds_is_bad(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))  # without listening: nobody answers there
        check = found(Settings(data_dir=tmp_path / "data", port=server.getsockname()[1]))["port"]

    assert not check.is_ok
    assert check.finding.endswith("choose another --port")


def test_services_given_by_url_are_asked(tmp_path: Path, redis_url: str, warehouse_url: str) -> None:
    settings = Settings(
        data_dir=tmp_path / "data", port=free_port(), log=redis_url, state=redis_url, warehouse=warehouse_url
    )
    looked_at = found(settings)

    assert "valkey" not in looked_at
    assert all(looked_at[name].is_ok for name in ("log", "state", "warehouse")), looked_at
    assert "***" in looked_at["warehouse"].finding


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("log", "redis://:hidden@127.0.0.1:{port}/0"),
        ("state", "unix://:hidden@/nowhere/valkey.sock"),
        ("warehouse", "http://user:hidden@127.0.0.1:{port}/x"),
    ],
)
def test_a_service_that_does_not_answer_is_bad_and_keeps_its_secret(tmp_path: Path, name: str, url: str) -> None:
    settings = Settings.model_validate(
        {"data_dir": tmp_path / "data", "port": free_port(), name: url.format(port=free_port())}
    )
    check = found(settings)[name]

    assert not check.is_ok
    assert "does not answer" in check.finding
    assert "hidden" not in check.finding
    assert "\n" not in check.finding


def test_a_warehouse_that_refuses_the_key_is_bad(tmp_path: Path, warehouse_url: str) -> None:
    user, _, host = warehouse_url.rpartition("@")
    wrong = f"{user.rpartition(':')[0]}:wrong@{host}"
    check = found(Settings(data_dir=tmp_path / "data", port=free_port(), warehouse=wrong))["warehouse"]

    assert not check.is_ok
    assert "wrong" not in check.finding
