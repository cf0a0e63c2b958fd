"""Prometheus metrics of a worker: base units, bounded labels, never an id."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """The metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter("headrace_events", "Events by outcome at the edge", ["outcome"], registry=self.registry)
        self.clamped = Counter(
            "headrace_clamped_events", "Events from ahead of the clock, their time clamped", registry=self.registry
        )
        self.robot_events = Counter(
            "headrace_robot_events", "Events of robots that say so: they count for nobody else", registry=self.registry
        )
        self.robot_slates = Counter(
            "headrace_robot_slates", "Slates for robots, by their words or pace: not learned", registry=self.registry
        )
        self.slates = Counter(
            "headrace_slates", "Slates by surface and ladder rung", ["surface", "rung"], registry=self.registry
        )
        self.shadows = Counter(
            "headrace_shadow_slates", "Shadow slates: scored, dropped for want of time, failed", ["outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.slate_seconds = Histogram(
            "headrace_slate_seconds", "Time to make a slate", buckets=_BUCKETS, registry=self.registry
        )
        self.ingest_seconds = Histogram(
            "headrace_ingest_seconds", "Time until events were kept", buckets=_BUCKETS, registry=self.registry
        )
        self.refused = Counter(
            "headrace_refused_requests", "Requests of events or items not taken", ["code"], registry=self.registry
        )
        self.waiting_bytes = Gauge(
            "headrace_waiting_bytes", "Bytes of requests taken and not yet kept", registry=self.registry
        )
        self.spooled_bytes = Gauge("headrace_spooled_bytes", "Bytes waiting for the log", registry=self.registry)
        self.items = Gauge("headrace_items", "Items known to the worker", registry=self.registry)
        self.log_away = Gauge("headrace_log_away", "1 while the log does not answer", registry=self.registry)
        self.refused_artifacts = Counter(
            "headrace_refused_artifacts", "Published versions not served", ["artifact"], registry=self.registry
        )
        self.model_version = Gauge("headrace_artifact_version", "Version served", ["artifact"], registry=self.registry)
        self.worker = Gauge(
            "headrace_worker", "1: which of the workers behind the port answered", ["worker"], registry=self.registry
        )
