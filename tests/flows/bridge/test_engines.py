"""Both engines, each as the process that `headrace bridge kafka` is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from flows.bridge import Engine
from flows.bridge.faust_engine import build_app
from flows.bridge.kafka import KafkaTopic
from flows.bridge.producer import TopicWriter, make_topic
from online.connect import open_log
from online.core.dead_letter import DEAD
from online.core.partition import EVENTS
from online.ports import START, EventLog

Eventually = Callable[[Callable[[], Any], float], Any]


def click(number: int) -> bytes:
    return json.dumps({"event_type": "click", "user_id": f"u{number % 7}", "item_id": "a"}).encode()


def start(brokers: str, topic: str, engine: str, url: str, directory: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "headrace", "bridge", "kafka", "--brokers", brokers, "--topic", topic, "--json"]
    argv += ["--engine", engine, "--group", topic, "--member", "m"]
    stores = {"HEADRACE_LOG": url, "HEADRACE_STATE": url, "HEADRACE_WAREHOUSE": "http://127.0.0.1:1"}
    env = {**os.environ, **stores, "HEADRACE_DATA_DIR": str(directory)}
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def come_through(log: EventLog, topic: str = EVENTS) -> int:
    return sum(log.behind(topic, partition, START) for partition in range(log.partitions(topic)))


@pytest.mark.parametrize("engine", get_args(Engine))
def test_a_bridge_goes_on_where_the_one_before_stood(
    kafka_broker: Any, engine: Engine, new_database: Callable[[], str], tmp_path: Path, eventually: Eventually
) -> None:
    topic, url = f"resume-{engine}-{time.time_ns()}", new_database()
    make_topic(kafka_broker.url, topic, 2)
    writer = TopicWriter(kafka_broker.url, topic)
    log = open_log(url)
    said = []
    for chunk in range(2):
        before, dead = come_through(log), come_through(log, DEAD)
        writer.send([(n % 2, click(n)) for n in range(100)] + [(0, b"{")])
        writer.flush()
        process = start(kafka_broker.url, topic, engine, url, tmp_path)
        eventually(lambda before=before: come_through(log) >= before + 100, 30.0)
        eventually(lambda dead=dead: come_through(log, DEAD) >= dead + 1, 30.0)
        time.sleep(0.2 * chunk)
        process.send_signal(signal.SIGTERM)
        said.append(json.loads(process.communicate(timeout=20.0)[0]))
        assert process.returncode == 0
        assert come_through(log) == before + 100
    log.close()

    assert said == [{"forwarded": 100, "dead": 1, "repeated": 0}] * 2


def test_a_member_whose_name_another_process_has_taken_ends(
    kafka_broker: Any, new_database: Callable[[], str], tmp_path: Path, eventually: Eventually
) -> None:
    topic, url = f"fenced-{time.time_ns()}", new_database()
    make_topic(kafka_broker.url, topic, 1)
    writer = TopicWriter(kafka_broker.url, topic)
    log = open_log(url)

    def one_comes_through() -> None:
        before = come_through(log)
        writer.send([(0, click(1))])
        writer.flush()
        eventually(lambda: come_through(log) > before, 30.0)

    first = start(kafka_broker.url, topic, "bytewax", url, tmp_path)
    one_comes_through()
    second = start(kafka_broker.url, topic, "bytewax", url, tmp_path)

    first.communicate(timeout=30.0)
    one_comes_through()
    second.terminate()
    second.communicate(timeout=20.0)

    assert (first.returncode, second.returncode) == (2, 0)
    assert come_through(log) == 2
    log.close()


def test_faust_takes_no_setting_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROKER_URL", "FAUST_DATADIR", "DATADIR", "CONSUMER_AUTO_OFFSET_RESET", "FAUST_STORE"):
        monkeypatch.setenv(name, "kafka://elsewhere:1")

    app = build_app(KafkaTopic("a:9092,b:9093", "clicks", "id", "group", "member"), tmp_path)

    assert [str(url) for url in app.conf.broker] == ["aiokafka://a:9092", "aiokafka://b:9093"]
    assert (app.conf.id, app.conf.consumer_group_instance_id) == ("group", "member")
    assert app.conf.datadir == tmp_path
    assert app.conf.consumer_auto_offset_reset == "earliest"
    assert not app.started


def test_importing_the_engines_reads_no_arguments_and_starts_nothing() -> None:
    program = (
        "import threading, flows.bridge.faust_engine, flows.bridge.bytewax_engine; print(threading.active_count())"
    )
    argv = [sys.executable, "-W", "error", "-c", program]

    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "1\n"
