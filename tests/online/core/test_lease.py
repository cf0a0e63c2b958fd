from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online.adapters.memory_state import MemoryState
from online.core.lease import shares

TTL_S = 6.0


class Group:
    """Members that hold partitions of a state store, and act in an order that a seed draws."""

    def __init__(self, partitions: int, seed: int = 0) -> None:
        self.now = 0.0
        self.partitions = range(partitions)
        self.held: dict[str, frozenset[int]] = {}
        self._state = MemoryState(lambda: self.now)
        self._rng = random.Random(seed)

    def settle(self, rounds: int = 6) -> None:
        """Let each member look at the roster and act on it some times, half a second apart."""
        for _ in range(rounds):
            self.now += 0.5
            for member in self._rng.sample(sorted(self.held), len(self.held)):
                self.act(member)

    def act(self, member: str) -> None:
        roster = self._state.lease("g", member, self.held[member], TTL_S)
        share = shares(roster, self.partitions)[member]
        roster = self._state.lease("g", member, share, TTL_S)
        self.held[member] = roster[member]

    def join(self, member: str) -> None:
        self.held[member] = frozenset()

    def die(self, member: str) -> None:
        """It says nothing any more; its lease ends some time."""
        del self.held[member]

    def is_even(self) -> bool:
        """Say whether every partition is held once, and nobody holds two more than another."""
        counts = [len(held) for held in self.held.values()]
        everything = sorted(p for held in self.held.values() for p in held)
        return everything == list(self.partitions) and max(counts) - min(counts) <= 1


def test_the_first_member_takes_everything_at_once() -> None:
    group = Group(16)
    group.join("a")
    group.act("a")

    assert group.held["a"] == frozenset(range(16))


def test_a_new_member_gets_its_share_and_nothing_else_moves() -> None:
    group = Group(16)
    group.join("b")
    group.settle()
    before = group.held["b"]
    group.join("a")
    group.settle()

    assert group.is_even()
    assert group.held["b"] < before


@pytest.mark.parametrize("partitions", [1, 3, 16])
def test_members_more_than_partitions_stand_by(partitions: int) -> None:
    group = Group(partitions)
    for number in range(partitions + 2):
        group.join(f"m{number}")
    group.settle()

    assert group.is_even()
    assert sum(not held for held in group.held.values()) == 2


def test_partitions_of_the_dead_are_taken_when_their_lease_ends_and_not_before() -> None:
    group = Group(8)
    for member in "ab":
        group.join(member)
    group.settle()
    left = group.held["b"]
    group.die("a")
    group.settle(2)
    assert group.held["b"] == left

    group.now += TTL_S
    group.settle(2)

    assert group.is_even()


@given(
    partitions=st.integers(1, 40),
    steps=st.lists(st.tuples(st.sampled_from(["join", "die", "act"]), st.sampled_from("abcdef")), max_size=30),
    seed=st.integers(0, 99),
)
def test_whoever_comes_and_goes_the_living_end_with_even_shares_of_everything(
    partitions: int, steps: list[tuple[str, str]], seed: int
) -> None:
    group = Group(partitions, seed)
    group.join("z")
    for what, member in steps:
        group.now += 0.3
        if what == "join" and member not in group.held:
            group.join(member)
        elif what != "join" and member in group.held:
            getattr(group, what)(member)
        everything = [p for held in group.held.values() for p in held]
        if group.now < TTL_S:  # later a lease may have ended unnoticed by its member, who is fenced then
            assert len(everything) == len(set(everything))
    group.now += TTL_S
    group.settle()

    assert group.is_even()


def test_a_roster_that_is_settled_stays_as_it_is() -> None:
    roster = {"a": frozenset({1, 4, 5}), "b": frozenset({0, 2}), "c": frozenset({3, 6})}

    assert shares(roster, range(7)) == roster
