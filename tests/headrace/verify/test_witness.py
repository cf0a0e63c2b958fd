from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from headrace.verify.witness import Witness, changed, seen_now
from online.adapters.memory_log import MemoryLog
from online.adapters.redis_log import RedisLog


@pytest.fixture
def topic() -> str:
    return f"witnessed-{uuid4().hex[:12]}"


def test_a_witness_knows_what_was_trimmed(redis_url: str, topic: str, eventually: Callable[..., Any]) -> None:
    log = RedisLog(redis_url)
    log.create(topic, 2)
    log.append(topic, [(0, b"one")])
    witness = Witness(redis_url, {topic: 2})
    witness.start()
    eventually(lambda: witness.seen[topic, 0])
    second, _ = log.append(topic, [(0, b"two"), (1, b"three")])
    log.trim(topic, 0, second)  # up to its entry

    seen = witness.stop()

    assert [message.payload for message in seen[topic, 0]] == [b"one", b"two"]
    assert [message.payload for message in seen[topic, 1]] == [b"three"]
    assert [message.payload for message in seen_now(log, {topic: 2})[topic, 0]] == [b"two"]
    assert changed(seen, log) == 0
    log.close()


def test_a_log_that_loses_its_end_or_changes_is_found() -> None:
    full, short, other = MemoryLog(), MemoryLog(), MemoryLog()
    for log, payloads in ((full, b"abc"), (short, b"ab"), (other, b"abX")):
        log.create("t", 1)
        log.append("t", [(0, bytes([payload])) for payload in payloads])
    seen = seen_now(full, {"t": 1})

    assert changed(seen, full) == 0
    assert changed(seen, short) == 1
    assert changed(seen, other) == 1
