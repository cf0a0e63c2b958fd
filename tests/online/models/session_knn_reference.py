"""VMIS-kNN over a stream in plain Python: slow, and written independently of the kernels it checks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence


class Session:
    """One kept session: its number in order of begin, its last items, each with the time of the last click on it."""

    def __init__(self, key: int, number: int) -> None:
        self.key = key
        self.number = number
        self.items: list[list[float]] = []  # (item, time)


class ReferenceSessionKnn:
    """The same rules as `SessionKnn`, with dictionaries and lists."""

    def __init__(
        self,
        sessions: int,
        postings: int,
        session_length: int,
        neighbours: int,
        half_life_s: float | None = 30 * 86_400.0,
        recency: float = 1.5,
        distance: float = 2.5,
    ) -> None:
        self.bound = sessions
        self.most = postings
        self.length = session_length
        self.neighbours = neighbours
        self.half_life_s = half_life_s
        self.recency, self.distance = recency, distance
        self.begun = self.moved = 0
        self.live: dict[int, Session] = {}
        self.postings: defaultdict[int, list[tuple[float, Session]]] = defaultdict(list)  # oldest first
        self.item_sessions: defaultdict[int, int] = defaultdict(int)

    def learn(self, key: int, item: int, timestamp: float) -> None:
        session = self.live.get(key)
        if session is None:
            for old in [old for old in self.live.values() if old.number == self.begun - self.bound]:
                del self.live[old.key]
            session = self.live[key] = Session(key, self.begun)
            self.begun += 1
        self._click(session, item, timestamp)

    def _click(self, session: Session, item: int, timestamp: float) -> None:
        known = [pair for pair in session.items if pair[0] == item]
        if known and timestamp <= known[0][1]:
            return
        if not known and len(session.items) == self.length:
            known = [min(session.items, key=lambda pair: (pair[1], pair[0]))]
            if timestamp < known[0][1]:
                return
        for pair in known:
            session.items.remove(pair)
            self._withdraw(int(pair[0]), session)
        session.items.append([item, timestamp])
        self.item_sessions[item] += 1
        kept = [*self.postings[item], (timestamp, session)]
        kept.sort(key=lambda posting: (posting[0], self.is_live(posting[1]), posting[1].key * self.is_live(posting[1])))
        self.postings[item] = kept[-self.most :]

    def _withdraw(self, item: int, session: Session) -> None:
        self.item_sessions[item] -= 1
        self.postings[item] = [posting for posting in self.postings[item] if posting[1] is not session]

    def is_live(self, session: Session) -> bool:
        return self.live.get(session.key) is session

    def move(self, old: int, new: int) -> None:
        session = self.live.pop(old, None)
        if session is None:
            return
        target = self.live.get(new)
        if target is None:
            session.key = new
            self.live[new] = session
            return
        self.moved += 1
        for item, time in session.items:
            self._withdraw(int(item), session)
            self._click(target, int(item), time)

    def query(self, items: Sequence[int], now: float, limit: int, own: int | None = None) -> list[tuple[int, float]]:
        recent = list(dict.fromkeys(reversed(items)))[:9]
        similarity: dict[Session, float] = {}
        match: dict[Session, int] = {}
        latest: dict[Session, float] = {}
        for position, item in enumerate(recent, start=1):
            for time, session in self.postings.get(item, ()):
                if not self.is_live(session) or session.key == own:
                    continue
                weight = math.exp(-(position - 1) / self.recency)
                similarity[session] = similarity.get(session, 0.0) + weight
                match.setdefault(session, position)
                latest[session] = max(latest.get(session, time), time)
        if self.half_life_s is not None:
            for session in similarity:
                similarity[session] *= 2.0 ** (-max(now - latest[session], 0.0) / self.half_life_s)
        nearest = sorted(similarity, key=lambda s: (similarity[s], latest[s], s.key), reverse=True)[: self.neighbours]
        votes: defaultdict[int, float] = defaultdict(float)
        for session in nearest:
            held = [int(item) for item, _ in sorted(session.items, key=lambda pair: (pair[1], pair[0]))]
            match_at = held.index(recent[match[session] - 1])
            for at, item in enumerate(held):
                steps = abs(at - match_at)
                votes[item] += similarity[session] * (1.0 - 0.1 * match[session]) * math.exp(-steps / self.distance)
        scores = {
            item: vote * math.log1p((self.begun - self.moved) / self.item_sessions[item])
            for item, vote in votes.items()
        }
        return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]
