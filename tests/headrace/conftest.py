"""What the tests of the composition root share: the state flow's views folded by hand, without a dataflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from flows.state import catalogue_view, control_view, state_view
from flows.view import adopt_all
from headrace.bench.rig import rig
from headrace.system import api_url
from online.ports import EventLog, StateStore

FoldAll = Callable[[EventLog, StateStore, int], None]


@pytest.fixture(scope="session")
def fold_all() -> FoldAll:
    """Fold and commit all that a log holds into the views of users, items and control, at most 20 messages a batch."""

    def fold(log: EventLog, state: StateStore, partitions: int) -> None:
        views = adopt_all(
            [
                state_view(state=state, log=log, partitions=partitions),
                catalogue_view(state=state, log=log),
                control_view(state=state, log=log),
            ]
        )
        after = {key: position for view in views for key, position in view.positions().items()}
        while batches := log.read(after, max_messages=20, wait_s=0.0):
            for batch in batches:
                after[batch.topic, batch.partition] = batch.messages[-1].position
                for view in views:
                    if batch.topic in view.topics:
                        view.step(batch)()

    return fold


@pytest.fixture(scope="session")
def running_api() -> Iterator[str]:
    """URL of an API as `headrace up` runs it, with the state flow behind it, that asks for no key."""
    with rig(flows=("state",), api=True) as system:
        yield api_url(system.settings)
