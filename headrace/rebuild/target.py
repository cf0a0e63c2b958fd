"""What is rebuilt: each view with its topics, families and fold, and the ports of the system it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from flows.record import create_tables
from flows.state import STATE_VIEW
from headrace.probe import require_answers, require_data_dir
from headrace.process import create_topics, open_artifacts
from headrace.rebuild.dead import Living, dead_positions
from headrace.settings import Settings
from headrace.supervisor import Supervisor
from headrace.system import plan, running
from headrace.tenants import chosen
from online.connect import open_log, open_state, open_warehouse
from online.core.catalogue import CATALOGUE_VIEW, ITEM_DOCUMENT, CatalogueFold
from online.core.checkpoint import Checkpoint, decode_checkpoint
from online.core.control import CONTROL_ENTRY, CONTROL_VIEW, ControlFold
from online.core.partition import ITEM, USER, Load, PartitionFold
from online.core.record import RECORD_VERSION
from online.core.step import FoldConfig
from online.ports import ArtifactStore, EventLog, StateStore, Warehouse
from replay.refold import Fold, Refold, Refolded
from replay.snapshot import read_snapshot

STEP = sha256(f"{RECORD_VERSION} {FoldConfig()!r}".encode()).hexdigest()[:16]
"""Names the fold: what another one made is no snapshot to go on from."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What a rebuild reads and writes."""

    log: EventLog
    state: StateStore
    warehouse: Warehouse
    artifacts: ArtifactStore


@dataclass(frozen=True, slots=True)
class Target:
    """One partition of a view, its topics and families, and its fold."""

    view: str
    partition: int
    topics: Sequence[str]
    families: Sequence[str]
    make: Callable[[Load], Fold]

    @property
    def snapshot(self) -> str:
        """The name of its snapshots."""
        return f"snapshot-{self.view}-{self.partition}"

    def live(self, ports: Ports) -> Checkpoint:
        """Return where the living view stands."""
        return decode_checkpoint(ports.state.checkpoint(self.view, self.partition))

    def refold(self, ports: Ports, *, from_start: bool) -> Refold:
        """Return the fold of the past, to go on from the newest snapshot that the living view is not behind of."""
        live, start = self.live(ports), Refolded({family: {} for family in self.families})
        snapshot = None if from_start else read_snapshot(ports.artifacts, self.snapshot, self.families, step=STEP)
        if snapshot is not None and all(live.positions.get(t, "") >= at for t, at in snapshot.at.positions.items()):
            start = snapshot
        dead = dead_positions(ports.state, ports.warehouse, self.partition)
        return Refold(self.partition, self.topics, lambda load: Living(self.make(load), dead), start)


def targets(partitions: int) -> list[Target]:
    """Return every view that is rebuilt, by partition."""
    state = [
        Target(STATE_VIEW, p, PartitionFold.topics, (USER, ITEM), partial(PartitionFold, p)) for p in range(partitions)
    ]
    catalogue = Target(CATALOGUE_VIEW, 0, CatalogueFold.topics, (ITEM_DOCUMENT,), lambda load: CatalogueFold())
    return [*state, catalogue, Target(CONTROL_VIEW, 0, ControlFold.topics, (CONTROL_ENTRY,), ControlFold)]


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[Ports, int]]:
    """Open the ports of a running system, or of one whose embedded services are started for this.

    Raises:
        SettingsError: there is no such data directory, or a service given by URL does not answer.
    """
    require_data_dir(settings)
    require_answers(settings)
    with ExitStack() as stack:
        filled = running(settings)
        if filled is None:
            system = plan(settings, flows=(), api=False)
            stack.enter_context(Supervisor(system.services, system.settings.data_dir))
            filled = chosen(system.settings)
        log, state, warehouse = open_log(filled.log), open_state(filled.state), open_warehouse(filled.warehouse)
        for port in (log, state, warehouse):
            stack.callback(port.close)
        create_tables(warehouse)
        yield Ports(log, state, warehouse, open_artifacts(filled)), create_topics(log, filled.partitions)
