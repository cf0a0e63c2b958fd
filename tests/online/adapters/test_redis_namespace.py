"""Namespaces of one server: logs and stores that share it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from online.connect import open_log, open_state


def test_what_is_in_a_namespace_is_in_no_other(new_database: Callable[[], str]) -> None:
    url = new_database()
    urls = [url, f"{url}&namespace=a", f"{url}&namespace=b"]
    logs, states = [open_log(one) for one in urls], [open_state(one) for one in urls]

    logs[1].create("events", 3)
    logs[1].append("events", [(0, b"of a")])
    logs[1].append_from("kafka", "events", [(5, 1, b"of a")])
    generation = states[1].claim("view", 0).generation
    states[1].commit("view", 0, generation, {"user": {"u7": b"of a"}}, b"checkpoint")
    states[1].announce("api", "member", b"of a", 60.0)
    states[1].lease("state", "member", [0, 1], 60.0)

    for log, state in ((logs[0], states[0]), (logs[2], states[2])):
        assert log.partitions("events") == 0
        assert log.read({("events", 0): "", ("events", 1): ""}, max_messages=10, wait_s=0.0) == []
        assert log.append_from("kafka", "events", [(5, 1, b"own")]) == 1
        assert state.get(0, "user", "u7") is None
        assert state.checkpoint("view", 0) is None
        assert (state.announced("api"), state.roster("state")) == ({}, {})
        assert state.claim("view", 0).generation == 1
    assert states[1].get(0, "user", "u7") == b"of a"
    assert [message.payload for batch in logs[1].read({("events", 1): ""}, max_messages=10, wait_s=0.0)
            for message in batch.messages] == [b"of a"]  # fmt: skip
    for port in (*logs, *states):
        port.close()
