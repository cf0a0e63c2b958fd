"""The share of a flow's partitions that this process keeps, beside other processes of the same flow.

A lease only says who should own what. That no two processes write the same records is held by the generation that a
commit checks: whoever goes on although its lease has ended is fenced.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence, Set
from threading import Event, Lock, Thread
from typing import NamedTuple, Protocol

from online.core.lease import shares
from online.ports import Position, StateStore, Unavailable

logger = logging.getLogger(__name__)

TTL_S = 6.0  # how long the partitions of a process that died or stalls lie idle
RENEW_S = 2.0
HURRY_S = 0.1  # between renewals while partitions move


class Goal(NamedTuple):
    """What the process is to keep, as of its lease's `renewal`-th renewal."""

    renewal: int
    partitions: frozenset[int]


class Lease:
    """Renewed by a thread of its own, so that a long commit costs no partition.

    Args:
        state: a connection of its own.
        group: the flow.
        member: names the process; one that starts in the place of a dead one takes its name, and its lease at once.
        partitions: all there are.
    """

    def __init__(self, state: StateStore, group: str, member: str, partitions: Collection[int]) -> None:
        self._state, self._group, self._member, self._partitions = state, group, member, partitions
        self.goal = Goal(0, frozenset())
        self._kept: Set[int] = frozenset()
        self._moved, self._turn = Event(), Lock()
        self._is_left = False
        self._thread = Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Take a share at once, and start to renew."""
        try:
            self.renew()
        except Unavailable as error:
            logger.warning("cannot take a lease yet: %s", error)
        self._thread.start()

    def keep(self, partitions: Set[int]) -> None:
        """Tell what the process has adopted; what is neither that nor its goal is free for others from now on."""
        self._kept = frozenset(partitions)
        self._moved.set()

    def leave(self) -> None:
        """Give up everything, for good: others need not wait until the lease ends.

        Raises:
            Unavailable: the store does not answer.
        """
        with self._turn:
            self._is_left = True
            self._state.leave(self._group, self._member)

    def renew(self) -> bool:
        """Renew once; say whether everyone holds what is theirs.

        Raises:
            Unavailable: the store does not answer.
        """
        with self._turn:
            if self._is_left:
                return True
            roster = self._ask(self._kept | self.goal.partitions)
            share = shares(roster, self._partitions)[self._member]
            if not share <= roster[self._member]:
                roster = self._ask(share | roster[self._member])
            mine = share & roster[self._member]
            if mine != self.goal.partitions:
                logger.info("%s keeps %s of %s", self._member, sorted(mine), self._group)
            self.goal = Goal(self.goal.renewal + 1, mine)
            return roster == shares(roster, self._partitions)

    def _ask(self, partitions: Set[int]) -> dict[str, frozenset[int]]:
        return self._state.lease(self._group, self._member, partitions, TTL_S)

    def _run(self) -> None:
        while True:
            try:
                is_settled = self.renew()
            except Unavailable as error:
                logger.warning("cannot renew the lease: %s", error)
                is_settled = False
            self._moved.wait(RENEW_S if is_settled else HURRY_S)
            self._moved.clear()


class Held(Protocol):
    """What can be kept in parts: a view, or whatever else goes with partitions."""

    @property
    def partitions(self) -> Collection[int]:
        """All there are, whoever keeps them."""
        ...

    @property
    def adopted(self) -> Set[int]:
        """The partitions this process keeps; one whose owner is now another is not among them."""
        ...

    def adopt(self, partition: int) -> None:
        """Go on with a partition where its last owner stood."""
        ...

    def release(self, partition: int) -> None:
        """Commit what is folded and forget the partition."""
        ...

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return behind which position each (topic, partition) of those adopted is to be read."""
        ...


class Share:
    """Views of one flow, each with the partitions that the lease says; without a lease, with all of them."""

    def __init__(self, views: Sequence[Held], lease: Lease | None = None) -> None:
        self._views, self._lease = views, lease
        self._everything = Goal(1, frozenset().union(*(view.partitions for view in views)))
        self._renewal = 0
        self.moves = 0

    @property
    def _goal(self) -> Goal:
        return self._everything if self._lease is None else self._lease.goal

    def is_due(self) -> bool:
        """Say whether the goal, renewed, is another than what the views hold.

        A view that was fenced takes its partition back at the next renewal at the earliest: whoever fenced it may
        have something to do.
        """
        goal = self._goal
        if goal.renewal == self._renewal:
            return False
        is_same = all(view.adopted == goal.partitions & frozenset(view.partitions) for view in self._views)
        if is_same:
            self._renewal = goal.renewal
        return not is_same

    def move(self) -> None:
        """Release what is others', tell it, and adopt what is to be kept. To be called behind all commits before."""
        goal = self._goal
        for view in self._views:
            for partition in sorted(view.adopted - goal.partitions):
                view.release(partition)
        if self._lease is not None:
            self._lease.keep(goal.partitions)
        for view in self._views:
            for partition in sorted(goal.partitions.intersection(view.partitions) - view.adopted):
                view.adopt(partition)
        self._renewal = goal.renewal
        self.moves += 1

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return behind which position each (topic, partition) is to be read."""
        return {key: position for view in self._views for key, position in view.positions().items()}
