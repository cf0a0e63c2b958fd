"""The brokers of the tests: they come back with what they held, and leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

BROKERS = Path(__file__).parent

RUN = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(BROKERS)!r})
from real_brokers import run_kafka
with run_kafka(Path(sys.argv[1])) as broker:
    print(broker.url, flush=True)
    time.sleep(600)
"""


def test_a_killed_kafka_comes_back_with_its_messages(kafka_broker: Any) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.url})
    producer.produce("kept", b"before")
    assert producer.flush(10.0) == 0

    kafka_broker.kill()

    consumer = Consumer({"bootstrap.servers": kafka_broker.url, "group.id": "none"})
    consumer.assign([TopicPartition("kept", 0, 0)])
    message = consumer.poll(20.0)
    consumer.close()
    assert message is not None
    assert message.value() == b"before"


@pytest.mark.brokers
def test_a_killed_test_run_leaves_no_broker(
    kafka_broker: Any, tmp_path: Path, processes_of: Callable[[str], list[int]]
) -> None:
    with subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline().startswith("127.0.0.1:")
        assert len(processes_of(str(tmp_path / "data"))) == 1

        run.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 10.0
    while processes_of(str(tmp_path / "data")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
