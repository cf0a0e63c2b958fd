"""How to run and reach the embedded warehouse.

The supervising process imports this module, so it must not import the server or the engine.
"""

from __future__ import annotations

import http.client
import sys
from functools import partial
from pathlib import Path

from headrace.keys import read_keys
from headrace.supervisor import Service

USER = "default"
PORT_FILE = "warehouse.port"  # written by the server in the data directory, for whoever comes to a running system


def url(port: int, key: str) -> str:
    """Return the URL that `online.connect` opens.

    >>> url(8123, "key")
    'http://default:key@127.0.0.1:8123/default'
    """
    return f"http://{USER}:{key}@127.0.0.1:{port}/default"


def known_port(data_dir: Path) -> int:
    """Return where the server of a running system listens.

    Raises:
        OSError: none ever ran there.
    """
    return int((data_dir / PORT_FILE).read_text(encoding="ascii"))


def is_ready(port: int, key: str) -> bool:
    """Return whether this server, and no other program on its port, answers a statement."""
    headers = {"X-ClickHouse-User": USER, "X-ClickHouse-Key": key}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("POST", "/", b"SELECT 1", headers)
        return connection.getresponse().read() == b"1\n"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def service(data_dir: Path, port: int, key_file: Path) -> Service:
    """Return the service that serves `<data>/warehouse` on a loopback port, asking for the key in the file.

    Raises:
        DataDirError: there is no such key.
    """
    key = read_keys(key_file).warehouse
    options = ["--data-dir", str(data_dir), "--port", str(port), "--key-file", str(key_file)]
    return Service(
        name="warehouse",
        argv=[sys.executable, "-m", "headrace.warehouse.server", *options],
        ready=partial(is_ready, port, key),
        ready_timeout_s=60.0,
        grace_s=10.0,
    )
