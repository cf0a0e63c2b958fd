"""The client of Pulsar where there is no broker."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from headrace.supervisor import free_port
from online.adapters.pulsar_log import PulsarLog
from online.ports import START, Unavailable

BESIDE_USEARCH = """
import online.adapters.usearch_index
from online.adapters.pulsar_log import PulsarLog
from online.ports import Unavailable
log = PulsarLog("pulsar://127.0.0.1:9", timeout_s=0.2)
try:
    log.append("events", [(0, b"x")])
except Unavailable:
    print("away")
log.close()
"""


def test_a_broker_that_is_away_is_told_in_time_and_without_noise(capfd: pytest.CaptureFixture[str]) -> None:
    log = PulsarLog(f"pulsar://127.0.0.1:{free_port()}?admin=http://127.0.0.1:{free_port()}", timeout_s=0.3)
    began = time.monotonic()

    with pytest.raises(Unavailable):
        log.append("events", [(0, b"x")])
    assert time.monotonic() - began < 1.0
    with pytest.raises(Unavailable):
        log.read({("events", 0): START}, max_messages=1, wait_s=0.1)
    with pytest.raises(Unavailable, match="admin interface"):
        log.extent("events", 0)
    log.close()

    assert capfd.readouterr() == ("", "")


def test_the_client_works_beside_an_engine_that_brings_a_c_library_of_its_own() -> None:
    ended = subprocess.run([sys.executable, "-c", BESIDE_USEARCH], capture_output=True, text=True, timeout=60)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "away\n", "")
