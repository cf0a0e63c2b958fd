"""Publish item vectors, sound and damaged ones, and wait until every worker behind the port has answered to them."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

from headrace.bench.rig import Rig, wait_until
from headrace.process import open_artifacts
from headrace.verify.published import DAMAGES, Edition, publish_damaged
from online.vectors import Vectors
from online.world import VECTORS

DAMAGED_EVERY = 5  # sound versions between two damaged ones


class Publisher:
    """Publishes editions in turn and waits for every worker to serve, or to refuse, each of them."""

    def __init__(self, whole: Rig, editions: list[Edition]) -> None:
        self._artifacts, self._root = open_artifacts(whole.settings), whole.settings.data_dir / "artifacts"
        self._workers = _Workers(f"http://{whole.settings.host}:{whole.settings.port}", whole.settings.api_workers)
        self._editions = editions
        self._made = self._damaged = self._running = 0
        self.served: dict[int, Vectors] = {}

    def publish(self) -> float:
        """Publish the next edition; return the seconds until it was served.

        Raises:
            Unavailable: it was not.
        """
        edition, version = self._editions[self._made % len(self._editions)], self._artifacts.newest(VECTORS) + 1
        self._made += 1
        self.served[version] = edition.vectors(version)  # first: slates of it are checked at once
        began = time.monotonic()
        self._artifacts.publish(VECTORS, edition.files, {"positions": {}})
        self._workers.until(lambda tells: tells.version == version, f"vectors {version} are not served")
        self._running = version
        return time.monotonic() - began

    def is_damaged_refused(self) -> bool:
        """Publish a damaged version; say whether every worker refused it and serves what it served before.

        Raises:
            Unavailable: one did neither.
        """
        damage = DAMAGES[self._made // DAMAGED_EVERY % len(DAMAGES)]
        publish_damaged(self._root, self._editions[self._made % len(self._editions)].files, damage)
        self._damaged += 1
        told = self._workers.until(
            lambda tells: tells.version != self._running or tells.refused == self._damaged,
            f"a damaged version ({damage}) is neither served nor refused",
        )
        return all(tells.version == self._running for tells in told)


class _Tells(NamedTuple):
    """What a worker's metrics say of the vectors."""

    worker: str
    version: int
    refused: int


class _Workers:
    """The workers behind one port: each new connection is answered by any of them."""

    def __init__(self, url: str, workers: int) -> None:
        self._url, self._workers = f"{url}/metrics", workers

    def until(self, is_true: Callable[[_Tells], bool], complaint: str) -> list[_Tells]:
        """Wait until something was true of each worker; return what it then told.

        Raises:
            Unavailable: with the complaint.
        """
        told: dict[str, _Tells] = {}

        def is_true_of_all() -> bool:
            tells = self._look()
            if is_true(tells):
                told.setdefault(tells.worker, tells)
            return len(told) == self._workers

        wait_until(is_true_of_all, complaint)
        return list(told.values())

    def _look(self) -> _Tells:
        with urllib.request.urlopen(self._url, timeout=30.0) as response:
            page = response.read().decode()
        (worker,) = re.findall(r'^headrace_worker{worker="([^"]*)"}', page, re.MULTILINE)
        return _Tells(worker, _value(page, "artifact_version"), _value(page, "refused_artifacts_total"))


def _value(page: str, metric: str) -> int:
    """Return the value of a metric of the vectors; 0 where the page has none.

    >>> _value('headrace_artifact_version{artifact="vectors"} 3.0', "artifact_version")
    3
    """
    found = re.search(f'^headrace_{metric}{{artifact="{VECTORS}"}} (.*)$', page, re.MULTILINE)
    return int(float(found[1])) if found else 0
