"""VMIS-kNN over a stream in plain Python: slow, and written independently of the kernels it checks."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Sequence


class Session:
    """One kept session: its number in order of begin, its last items and the time of its last click."""

    def __init__(self, number: int, length: int) -> None:
        self.number = number
        self.items: deque[int] = deque(maxlen=length)
        self.time = -math.inf


class ReferenceSessionKnn:
    """The same rules as `SessionKnn`, with dictionaries and deques."""

    def __init__(
        self,
        sessions: int,
        postings: int,
        session_length: int,
        neighbours: int,
        half_life_s: float | None = None,
    ) -> None:
        self.bound = sessions
        self.length = session_length
        self.neighbours = neighbours
        self.half_life_s = half_life_s
        self.begun = 0
        self.live: dict[int, Session] = {}  # by key, in order of begin
        self.postings: defaultdict[int, deque[Session]] = defaultdict(lambda: deque(maxlen=postings))
        self.item_sessions: defaultdict[int, int] = defaultdict(int)

    def learn(self, key: int, item: int, timestamp: float) -> None:
        session = self.live.get(key)
        if session is None:
            if len(self.live) == self.bound:
                del self.live[next(iter(self.live))]
            session = self.live[key] = Session(self.begun, self.length)
            self.begun += 1
        session.time = max(session.time, timestamp)
        if item not in session.items:
            session.items.append(item)
            self.postings[item].append(session)
            self.item_sessions[item] += 1

    def query(self, items: Sequence[int], now: float, limit: int) -> list[tuple[int, float]]:
        recent = list(dict.fromkeys(reversed(items)))[:9]
        alive = {id(session) for session in self.live.values()}
        similarity: dict[Session, float] = {}
        match: dict[Session, int] = {}
        for position, item in enumerate(recent, start=1):
            holders = dict.fromkeys(s for s in self.postings.get(item, ()) if id(s) in alive)
            for session in holders:
                weight = (len(recent) - position + 1) / len(recent)
                similarity[session] = similarity.get(session, 0.0) + weight
                match.setdefault(session, position)
        if self.half_life_s is not None:
            for session in similarity:
                similarity[session] *= 2.0 ** (-max(now - session.time, 0.0) / self.half_life_s)
        nearest = sorted(similarity, key=lambda s: (similarity[s], s.number), reverse=True)[: self.neighbours]
        votes: defaultdict[int, float] = defaultdict(float)
        for session in nearest:
            for item in session.items:
                votes[item] += similarity[session] * (1.0 - 0.1 * match[session])
        scores = {item: vote * math.log1p(self.begun / self.item_sessions[item]) for item, vote in votes.items()}
        return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]
