"""A worker's contact with the other workers: what each has applied of what must not be shown any more, and who lives.

A worker announces what it has applied, for `CONTACT_S` seconds. A change is acknowledged once everybody who has
announced something has applied it. So a worker whose announcement has ended, for example because it was stopped for a
while, must not answer from what it knows before it has announced itself again and then read the log to its end
(a lease, as in Gray and Cheriton, SOSP 1989).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Condition

import msgspec

from online.ports import START, Position, StateStore, Unavailable

API = "api"  # the group of the API workers
CONTACT_S = 2.0
BEAT_S = 0.25  # between announcements while nothing changes
LAG_S = 1.0  # behind the others for longer than that, a worker is not ready

Applied = Mapping[str, Position]
"""Topic -> position of the last message applied."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, str]).decode


class Contact:
    """Announces one worker. `beat` and `reached_head` are for the thread that follows the log."""

    def __init__(self, state: StateStore, member: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._state, self._clock, self.member = state, clock, member
        self._announced: Applied | None = None
        self._beaten = -BEAT_S
        self._rejoined: float | None = None  # when the announcement was sent that is to count
        self._until = 0.0
        self._missed = -1.0  # the end of contact that a request has waited out in vain
        self._behind_since: float | None = None
        self._changed = Condition()

    @property
    def is_joining(self) -> bool:
        """Say whether the log is still to be read to its end before the announcement counts."""
        return self._rejoined is not None

    @property
    def is_unheard(self) -> bool:
        """Say whether the last announcement has not reached the store: until one does, changes wait for this worker."""
        return self._announced is None

    @property
    def is_lagging(self) -> bool:
        """Say whether another worker has been ahead for more than `LAG_S`."""
        since = self._behind_since
        return since is not None and self._clock() - since > LAG_S

    def beat(self, applied: Applied) -> None:
        """Announce what is applied, when it is new or time has passed; a store that is away is tried again later."""
        began = self._clock()
        if applied == self._announced and began - self._beaten < BEAT_S:
            return
        self._beaten = began
        try:
            said = self._state.announce(API, self.member, _encode(applied), CONTACT_S)
        except Unavailable:
            self._announced = None
            return
        self._announced = dict(applied)
        if self._clock() < self._until:  # the announcement before had not ended when this one came
            self._until = began + CONTACT_S
        else:
            self._rejoined = began
        is_behind = any(not has_applied(applied, _decode(other)) for other in said.values())
        self._behind_since = (self._behind_since or began) if is_behind else None

    def reached_head(self) -> None:
        """Take note that the log was read to its end after the last announcement."""
        if self._rejoined is not None:
            with self._changed:
                self._until, self._rejoined = self._rejoined + CONTACT_S, None
                self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Wait until this worker may answer from what it knows, but only once for each time that contact is lost."""
        if self._clock() < self._until or self._missed == self._until:
            return
        with self._changed:
            self._missed = self._until
            self._changed.wait_for(lambda: self._clock() < self._until, timeout_s)

    def others(self) -> dict[str, Applied]:
        """Return what every living worker has applied.

        Raises:
            Unavailable: the store does not answer.
        """
        return {member: _decode(said) for member, said in self._state.announced(API).items()}

    def leave(self) -> None:
        """Tell the others not to wait for this worker any more."""
        try:
            self._state.leave(API, self.member)
        except Unavailable:  # then they find out by themselves
            return


def has_applied(applied: Applied, wanted: Applied) -> bool:
    """Say whether what is applied reaches as far as what is wanted, in every topic.

    >>> has_applied({"items": "5", "control": "3"}, {"items": "4"}), has_applied({"items": "5"}, {"control": "1"})
    (True, False)
    """
    return all(applied.get(topic, START) >= position for topic, position in wanted.items())
