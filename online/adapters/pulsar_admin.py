"""The admin side of the Pulsar log: what the binary protocol does not offer, over Pulsar's REST interface."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from online.ports import LogError, Unavailable

from .pulsar_url import PulsarUrl

RETENTION = "headrace-retention"
"""The durable subscription whose cursor is the trim point: readers hold nothing back, so it is all that does."""

Method = Literal["GET", "PUT", "POST"]

POLICIES: tuple[tuple[Method, str, Any], ...] = (
    # what is behind the trim point may go at once, what is in front of it never
    ("POST", "retention", {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0}),
    ("POST", "messageTTL", 0),
    ("POST", "subscriptionExpirationTime", 0),
    ("POST", "backlogQuota", {"limitSize": -1, "limitTime": -1, "policy": "producer_request_hold"}),
    # the broker's own deduplication loses messages of producers that batch, as ours do; ours is by event id
    ("POST", "deduplication", False),
    # old readers meet new events during a rolling restart, new readers meet old events for ever
    ("PUT", "schemaCompatibilityStrategy", "FULL_TRANSITIVE"),
)
"""Policies of the namespace, each against a broker's default that could lose something."""

LOOK_S = 0.05  # between looks whether a policy is in force

_MOVED = (301, 302, 307, 308)
_REDIRECTS = 3
_REFUSED = (400, 401, 403, 404, 405, 422)  # 409 and 412 may also tell that another process does the same just now


class Entries(NamedTuple):
    """The ledgers of a partition, each with its number of entries, and its bytes."""

    ledgers: list[tuple[int, int]]
    bytes: int
    added: int  # entries since the broker took over the partition


class PulsarAdmin:
    """Calls Pulsar's admin interface.

    Every method raises:
        Unavailable: it does not answer, or says that it cannot now.
        LogError: it refuses.
    """

    def __init__(self, url: PulsarUrl, *, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirect()]
        if url.admin.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=url.ca_file)))
        self._opener = urllib.request.build_opener(*handlers)

    def create_namespace(self) -> None:
        """Create tenant and namespace unless they exist, and set what keeps messages until they are trimmed."""
        tenant, namespace = self._url.tenant, f"namespaces/{self._url.tenant}/{self._url.namespace}"
        if self._call("GET", f"tenants/{tenant}", absent=404) is None:
            clusters = [cluster for cluster in self._call("GET", "clusters") if cluster != "global"]
            self._call("PUT", f"tenants/{tenant}", {"allowedClusters": clusters, "adminRoles": []}, absent=409)
        self._call("PUT", namespace, {}, absent=409)
        for method, policy, value in POLICIES:
            self._call(method, f"{namespace}/{policy}", value)

    def create_topic(self, topic: str, partitions: int) -> None:
        """Create a partitioned topic unless it exists."""
        self._call("PUT", self._topic(topic, "partitions"), partitions, absent=409)

    def grow_topic(self, topic: str, partitions: int) -> None:
        """Give a partitioned topic more partitions."""
        self._call("POST", self._topic(topic, "partitions"), partitions)

    def hold(self, topic: str) -> None:
        """See that the topic has the subscription that holds everything until it is trimmed."""
        if RETENTION not in self._call("GET", self._topic(topic, "subscriptions")):
            earliest = {"ledgerId": -1, "entryId": -1, "partitionIndex": -1}
            self._call("PUT", self._topic(topic, f"subscription/{RETENTION}"), earliest, absent=409)

    def deduplicate(self, topic: str) -> None:
        """See that each partition drops what a producer of the same name has sent before.

        Producers that batch repeat their batches as they were, under names of their own: it changes nothing for them.
        """
        self._call("POST", self._topic(topic, "deduplicationEnabled"), True)
        deadline = time.monotonic() + self._timeout_s
        for partition in range(self.partitions(topic)):
            while self._call("GET", self._topic(topic, "stats", partition)).get("deduplicationStatus") != "Enabled":
                if time.monotonic() > deadline:
                    raise Unavailable(f"Pulsar: partition {partition} of {topic} does not drop repeats yet")
                time.sleep(LOOK_S)

    def partitions(self, topic: str) -> int:
        """Return the number of partitions, 0 when there is no such topic."""
        found = self._call("GET", self._topic(topic, "partitions"), absent=404)
        return 0 if found is None else int(found["partitions"])

    def register_schema(self, topic: str, definition: Mapping[str, Any]) -> None:
        """Register the Avro record of a topic's JSON messages; LogError when earlier ones do not go with it."""
        body = {"type": "JSON", "schema": json.dumps(definition), "properties": {}}
        path = f"schemas/{self._url.tenant}/{self._url.namespace}/{quote(topic)}/schema"
        if self._call("POST", path, body, absent=409) is None:
            raise LogError(f"Pulsar holds messages of {topic} whose schema does not go with this version's")

    def last(self, topic: str, partition: int) -> tuple[int, int, int]:
        """Return ledger, entry and batch index of the last message; the entry is -1 when there is none."""
        found = self._call("GET", self._topic(topic, "lastMessageId", partition))
        return int(found["ledgerId"]), int(found["entryId"]), int(found.get("batchIndex", -1))

    def entry_at(self, topic: str, partition: int, time_ms: int) -> tuple[int, int]:
        """Return ledger and entry of the first message published at a time or later, or where it would come."""
        found = self._call("GET", self._topic(topic, f"messageid/{time_ms}", partition))
        return int(found["ledgerId"]), int(found["entryId"])

    def entries(self, topic: str, partition: int) -> Entries:
        """Return what the partition is stored in; the open ledger, last, counts what it holds so far."""
        found = self._call("GET", self._topic(topic, "internalStats", partition))
        ledgers = [(int(ledger["ledgerId"]), int(ledger["entries"])) for ledger in found["ledgers"]]
        if ledgers:
            ledgers[-1] = ledgers[-1][0], max(ledgers[-1][1], int(found["currentLedgerEntries"]))
        return Entries(ledgers, int(found["totalSize"]), int(found["entriesAddedCounter"]))

    def messages_in(self, topic: str, partition: int) -> int:
        """Return how many messages were appended since the broker took over the partition."""
        return int(self._call("GET", self._topic(topic, "stats", partition))["msgInCounter"])

    def trim(self, topic: str, partition: int, ledger: int, entry: int) -> None:
        """Move the trim point to an entry, which stays."""
        body = {"ledgerId": ledger, "entryId": entry, "partitionIndex": partition}
        self._call("POST", self._topic(topic, f"subscription/{RETENTION}/resetcursor", partition), body)

    def _topic(self, topic: str, what: str, partition: int | None = None) -> str:
        name = quote(topic if partition is None else f"{topic}-partition-{partition}")
        return f"persistent/{self._url.tenant}/{self._url.namespace}/{name}/{what}"

    def _call(self, method: Method, path: str, body: Any = None, *, absent: int | None = None) -> Any:
        """Return the answer's document; None for the status `absent`."""
        address = f"{self._url.admin}/admin/v2/{path}"
        for _ in range(_REDIRECTS + 1):
            status, location, text = self._send(method, address, body)
            if status not in _MOVED:
                break
            address = location  # another broker owns the topic
        if status < 300:
            return json.loads(text) if text else {}
        if status == absent:
            return None
        said = f"Pulsar answers {method} {path} with {status}: {_reason(text)}"
        if status in _REFUSED:
            raise LogError(said)
        raise Unavailable(said)

    def _send(self, method: Method, address: str, body: Any) -> tuple[int, str, bytes]:
        headers = {"Content-Type": "application/json"}
        if self._url.token is not None:
            headers["Authorization"] = f"Bearer {self._url.token()}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address, data, headers, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return answer.status, "", answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers.get("Location", ""), error.read()
        except (OSError, HTTPException) as error:
            raise Unavailable(f"Pulsar's admin interface {self._url.admin} does not answer: {error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirects to the caller: the library repeats only GET, and drops the body."""

    def redirect_request(self, *_: object) -> None:
        return None


def _reason(text: bytes) -> str:
    """Return what Pulsar says is wrong, on one line.

    >>> _reason(b'{"reason": "Namespace not found"}')
    'Namespace not found'
    """
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    said = document.get("reason") if isinstance(document, dict) else text.decode("utf-8", "replace")
    return " ".join(str(said or "no reason given").split())[:300]
