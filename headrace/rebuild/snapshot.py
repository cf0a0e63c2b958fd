"""`headrace snapshot`: fold every view on from its last snapshot to now, and publish that as the next one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from headrace.rebuild.target import STEP, Ports, opened, targets
from headrace.settings import Settings
from replay.snapshot import write_snapshot


def take_snapshots(settings: Settings, *, progress: Callable[[str], None]) -> dict[str, Any]:
    """Take the snapshots of a system, running or stopped.

    Raises:
        SettingsError: there is no such data directory, or a service given by URL does not answer.
    """
    with opened(settings) as (ports, partitions):
        return snapshot_all(ports, partitions, progress)


def snapshot_all(ports: Ports, partitions: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Take a snapshot of every view's partition, of the past up to where the view stands.

    A partition of whose history something is missing, in the log and in the archive, gets none.
    """
    began, documents, missing = time.monotonic(), [], 0
    for target in targets(partitions):
        live, refold = target.live(ports), target.refold(ports, from_start=False)
        for _ in refold.advance(ports.log, ports.warehouse, live):
            pass
        lacking = refold.result.lacking(live)
        if lacking:
            missing += lacking
            progress(f"{target.snapshot}: none, {lacking} of its messages are neither logged nor archived")
            continue
        version = write_snapshot(ports.artifacts, target.snapshot, refold.result, step=STEP)
        progress(f"{target.snapshot} {version}: {refold.result.messages} messages")
        records = sum(map(len, refold.result.records.values()))
        documents.append({"name": target.snapshot, "version": version, "records": records})
    return {"snapshots": documents, "messages_missing": missing, "took_s": round(time.monotonic() - began, 3)}
