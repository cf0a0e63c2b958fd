"""What runs of `headrace verify crash` found, and the sum of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

_DEFECTS = (
    "lost", "doubled", "records_different", "updates_different", "identity_different", "catalogue_different",
    "letters_different", "slates_lost", "slates_doubled", "open_slates_different", "examples_different",
    "warehouse_lost", "warehouse_doubled", "warehouse_different", "artifacts_damaged", "ranker_different",
    "blend_different", "log_different", "stalled",
)  # fmt: skip


@dataclass
class Outcome:
    """What a run of kills found. Everything from `lost` to `stalled` must be 0.

    `lost` and `doubled` are events: acknowledged and not in the log, or in the log and not counted once for their user.
    The other counts compare with what a single pass over the log makes of it.
    """

    kills: int = 0
    events: int = 0  # acknowledged
    merges: int = 0  # acknowledged
    slates: int = 0  # answered
    examples: int = 0  # slates whose window closed after something was seen
    letters: int = 0
    messages: int = 0  # in all topics of the log

    lost: int = 0
    doubled: int = 0
    records_different: int = 0  # user records and item aggregates
    updates_different: int = 0  # what a follower of the topic would hold
    identity_different: int = 0  # visitors' records and events on their way to users
    catalogue_different: int = 0
    letters_different: int = 0  # dead letters, in the topic and in the view
    slates_lost: int = 0  # answered, and not in the log or the warehouse
    slates_doubled: int = 0  # more than one row in the warehouse
    open_slates_different: int = 0
    examples_different: int = 0
    warehouse_lost: int = 0  # logged messages without a row
    warehouse_doubled: int = 0  # rows too many of one message
    warehouse_different: int = 0  # rows with other bytes than the message, or of none
    artifacts_damaged: int = 0  # published versions whose files are not what their manifest says
    ranker_different: int = 0  # weights that are not those learned from the same examples in one pass
    blend_different: int = 0  # the session blend is not the one learned from the same updates in one pass
    log_different: int = 0  # messages that were in the log and changed or vanished before they were trimmed
    stalled: int = 0  # views and topics that did not get to the end

    killed: dict[str, int] = field(default_factory=dict)  # by service
    ended: dict[str, int] = field(default_factory=dict)  # services that ended by themselves, and were started again
    runs: int = 1
    source: str = ""  # names the program, as `program_digest`
    log: str = ""
    targets: tuple[str, ...] = ()
    seed: int = 0
    took_s: float = 0.0
    kept: str = ""  # the data directory of a run with a defect

    @property
    def is_correct(self) -> bool:
        """Say whether nothing was lost, doubled or different, and nothing stalled."""
        return not any(getattr(self, name) for name in _DEFECTS)


def summed(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the sum of some runs' counts; the seed is the first run's.

    >>> summed([Outcome(kills=2, killed={"valkey": 2}), Outcome(kills=1, killed={"valkey": 1}, lost=1)]).killed
    {'valkey': 3}
    """
    first, total = outcomes[0], Outcome()
    for name in (each.name for each in fields(Outcome)):
        values: list[Any] = [getattr(outcome, name) for outcome in outcomes]
        if isinstance(values[0], dict):
            counted: Counter[str] = Counter()
            for value in values:
                counted.update(value)
            setattr(total, name, dict(sorted(counted.items())))
        elif isinstance(values[0], str | tuple):
            setattr(total, name, next(filter(None, values), values[0]))
        else:
            setattr(total, name, sum(values))
    total.seed, total.took_s = first.seed, round(total.took_s, 1)
    return total
