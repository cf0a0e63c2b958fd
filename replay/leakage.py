"""Leakage: whether what the features of a slate read was there before the slate, and its labels came after.

A slate logs up to where each state it read had taken in events (`as_of`, `record_position`), and the declaration of a
feature names the states it reads. So for every feature: feature time <= moment of the answer, and < time of the label.
Times are `received_at`, the servers' clock; a label in the partition of the slate's user record also counts by its
position, which no clock can shift.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from online.core.features import FEATURES
from online.core.features.feature import State
from online.ports import Position
from schemas.event import Event
from schemas.slate import Slate

LOGGED: dict[State, str] = {"record": "record", "items": "updates", "sessions": "updates"}
"""State a feature reads -> the entry of `Slate.as_of` that says how new it was. Versions of catalogue and vectors are
logged but not their times: of them nothing is said here."""

SHOWN = 20  # leaks told in full


class Leak(NamedTuple):
    """One state of one slate that was newer than it may be."""

    recommendation_id: str
    state: str
    why: str


class _Read(NamedTuple):
    """What the check keeps of a slate."""

    user_key: str | None
    as_of: dict[str, float]
    position: Position


@dataclass(slots=True)
class LeakageAudit:
    """Takes slates, then events with their positions, in any order among themselves."""

    slates: int = 0
    labels: int = 0
    without_times: int = 0
    leaks: list[Leak] = field(default_factory=list)
    least_margin_s: float | None = None
    _read: dict[str, _Read] = field(default_factory=dict)
    _found: Counter[str] = field(default_factory=Counter)

    def take_slate(self, slate: Slate) -> None:
        """Check that nothing the slate read is newer than its answer, and remember it. Repeats change nothing."""
        if slate.recommendation_id in self._read:
            return
        self.slates += 1
        self.without_times += not slate.as_of
        answered = slate.served_at + sum(slate.stages_us.values()) * 1e-6
        for state, time in slate.as_of.items():
            if time > answered:
                self._tell(slate.recommendation_id, state, f"read as of {time - answered:.3f} s after the answer")
        self._read[slate.recommendation_id] = _Read(slate.user_key, slate.as_of, slate.record_position)

    def take_event(self, event: Event, position: Position) -> None:
        """Check that an event which names a slate is not in what the slate read."""
        key = event.recommendation_id
        read = self._read.get(key) if key else None
        if read is None or key is None:
            return
        self.labels += 1
        if read.position and event.user_key == read.user_key and position <= read.position:
            self._tell(key, "record", f"label {event.event_id} is in the record read")
        for state, time in read.as_of.items():
            margin = event.received_at - time
            if self.least_margin_s is None or margin < self.least_margin_s:
                self.least_margin_s = margin
            if margin <= 0.0:
                self._tell(key, state, f"read as of {-margin:.3f} s after label {event.event_id}")

    def _tell(self, recommendation_id: str, state: str, why: str) -> None:
        self._found[state] += 1
        if len(self.leaks) < SHOWN:
            self.leaks.append(Leak(recommendation_id, state, why))

    def report(self) -> dict[str, Any]:
        """Return what was checked and found; `features` counts leaks by the features that read a leaking state."""
        states = {f.name: {LOGGED[s] for s in f.reads if s in LOGGED} for f in FEATURES}
        features = {name: sum(self._found[s] for s in read) for name, read in states.items()}
        return {
            "slates": self.slates,
            "labels": self.labels,
            "slates_without_times": self.without_times,
            "leaks": sum(self._found.values()),
            "by_state": dict(self._found),
            "features": {name: count for name, count in features.items() if count},
            "least_margin_s": None if self.least_margin_s is None else round(self.least_margin_s, 6),
            "examples": [leak._asdict() for leak in self.leaks],
        }
