"""Embedded services shared by the tests of a session; each starts when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace import valkey, warehouse_server
from headrace.keys import KEYS_FILE, load_keys, prepare_data_dir
from headrace.supervisor import Supervisor, free_port


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an embedded Valkey; tests keep apart by their own keys."""
    data_dir = prepare_data_dir(tmp_path_factory.mktemp("valkey"))
    password = load_keys(data_dir).valkey
    with Supervisor([valkey.service(data_dir, password)], data_dir):
        yield valkey.url(valkey.socket_path(data_dir), password)


@pytest.fixture(scope="session")
def warehouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an embedded warehouse; tests keep apart by their own tables."""
    data_dir = prepare_data_dir(tmp_path_factory.mktemp("warehouse"))
    key = load_keys(data_dir).warehouse
    port = free_port()
    with Supervisor([warehouse_server.service(data_dir, port, data_dir / KEYS_FILE)], data_dir):
        yield warehouse_server.url(port, key)
