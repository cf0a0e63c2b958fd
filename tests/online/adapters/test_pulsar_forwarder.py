from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Any

from online.adapters.pulsar_log import PulsarLog
from online.ports import START, Unavailable

OFFSETS, CHUNK = 6000, 50


def test_a_killed_broker_and_new_processes_neither_lose_nor_double_what_a_source_sends(pulsar_broker: Any) -> None:
    url = f"{pulsar_broker.url}/public/forwarder?admin={pulsar_broker.admin_url}"
    acknowledged = 0

    def forward() -> None:
        nonlocal acknowledged
        while acknowledged < OFFSETS:  # each round as a new process, which resumes too early
            with closing(PulsarLog(url, timeout_s=2.0)) as log:
                for first in range(max(0, acknowledged - 3 * CHUNK), min(acknowledged + 1000, OFFSETS), CHUNK):
                    messages = [(o, o % 2, b"%d" % o) for o in range(first, first + CHUNK)]
                    while not is_kept(log, messages):
                        time.sleep(0.05)
                    acknowledged = max(acknowledged, first + CHUNK)

    def is_kept(log: PulsarLog, messages: list[tuple[int, int, bytes]]) -> bool:
        try:
            log.append_from("kafka:group:topic:0", "forwarded", messages)
        except Unavailable:
            return False
        return True

    with closing(PulsarLog(url)) as log:
        log.create("forwarded", 2)
        forwarder = threading.Thread(target=forward)
        forwarder.start()
        while acknowledged < OFFSETS // 3:
            time.sleep(0.005)
        pulsar_broker.kill()
        forwarder.join()
        found: dict[int, list[bytes]] = {0: [], 1: []}
        for partition, payloads in found.items():
            after = START
            while batches := log.read({("forwarded", partition): after}, max_messages=5000, wait_s=0.0):
                payloads += [message.payload for message in batches[0].messages]
                after = batches[0].messages[-1].position

    assert found == {p: [b"%d" % o for o in range(p, OFFSETS, 2)] for p in (0, 1)}
