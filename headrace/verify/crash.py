"""`headrace verify crash`: kill processes at random points under load, then compare everything with the oracle.

The whole system runs, its log the embedded one or a broker; clients send through the API and repeat what was not
acknowledged. When all kills are done and all is carried to the end, each view, the updates, the examples, the models
and the warehouse must be what a single pass over the log makes of it.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from threading import Event

from headrace.bench.rig import unused
from headrace.probe import problem_with
from headrace.process import create_topics, open_artifacts
from headrace.settings import Settings, SettingsError, own_settings
from headrace.supervisor import Supervisor, free_port
from headrace.system import plan
from headrace.verify.archive import compare_warehouse
from headrace.verify.client import Client
from headrace.verify.compare import compare_catalogue, compare_letters, compare_state
from headrace.verify.drain import Ports, stalled, until_joined
from headrace.verify.joined import compare_artifacts, compare_join, unlogged
from headrace.verify.load import EventClock, Office, Poisoner, Shoppers, Source, Visitors
from headrace.verify.outcome import Outcome
from headrace.verify.victim import API_WORKERS, BROKER_TARGETS, TARGETS, Killer
from headrace.verify.witness import Seen, Witness, changed
from online.connect import open_log, open_state, open_warehouse
from online.ports import Warehouse
from online.topics import SINGLE_TOPICS, USER_TOPICS

WINDOW_S = 60.0  # of event time, after which a slate's outcomes are learned
VISITORS = 2  # clients that send events
LEAST_LOAD_S = 3.0  # in front of the first kill and behind the last one, together


@dataclass(frozen=True, slots=True)
class Trial:
    """What one run does: how many kills of which targets, on the embedded log ("") or the one at a URL.

    `kill_broker` kills the broker behind the URL (-9) and returns once it is back.
    """

    kills: int
    targets: tuple[str, ...]
    seed: int
    log: str = ""
    kill_broker: Callable[[], None] | None = None

    @property
    def where(self) -> str:
        """Say which log it is, without its URL, which may hold a token."""
        return "by URL" if self.log else "embedded"

    @property
    def services(self) -> list[Sequence[str]]:
        """What is killed, by target; two targets that are the same service are one."""
        found = (tuple((BROKER_TARGETS if self.log else TARGETS)[target]) for target in self.targets)
        return list(dict.fromkeys(found))


def verify_crash(trial: Trial, *, progress: Callable[[int, str], None] = lambda done, name: None) -> Outcome:
    """Run the whole system under load, kill parts of it, and compare what came of everything with the oracle.

    The data directory is kept when something is wrong.

    Raises:
        SettingsError: the log at the URL does not answer.
        Unavailable: it was not killed, or does not come back.
        Rejected: the API refused something for good.
    """
    problem = problem_with("log", trial.log) if trial.log else ""
    if problem:
        raise SettingsError(f"--log: {problem}")
    began = time.monotonic()
    outcome = Outcome(kills=trial.kills, seed=trial.seed, log=trial.where, targets=trial.targets)
    directory = Path(tempfile.mkdtemp(prefix="headrace-verify-"))
    try:
        _run(outcome, trial, directory / "data", progress)
    except BaseException:
        shutil.rmtree(directory)
        raise
    if outcome.is_correct:
        shutil.rmtree(directory)
    else:
        outcome.kept = str(directory / "data")
    outcome.took_s = round(time.monotonic() - began, 1)
    return outcome


def _run(outcome: Outcome, trial: Trial, data_dir: Path, progress: Callable[[int, str], None]) -> None:
    with _system(trial, data_dir) as (settings, ports, warehouse, supervisor):
        topics = {**dict.fromkeys(USER_TOPICS, ports.partitions), **dict.fromkeys(SINGLE_TOPICS, 1)}
        witness = Witness(settings.log, topics)
        witness.start()
        killer = Killer(supervisor, trial.services, ports, random.Random(trial.seed), trial.kill_broker)
        with _load(settings, ports, trial.seed) as load:
            time.sleep(LEAST_LOAD_S / 2)
            while (left := trial.kills - killer.killed.total()) > 0:
                names = killer.kill(left)
                progress(killer.killed.total(), " and ".join(names))
            killer.wait()
            time.sleep(LEAST_LOAD_S / 2)
        progress(trial.kills, "nothing more, catching up")
        outcome.stalled = len(stalled(ports))
        progress(trial.kills, "nothing more, comparing")
        outcome.killed = dict(sorted(killer.killed.items()))
        outcome.ended = {name: health.restarts for name, health in supervisor.health().items() if health.restarts}
        _compare(outcome, load, witness.stop(), ports, warehouse)


@contextmanager
def _system(trial: Trial, data_dir: Path) -> Iterator[tuple[Settings, Ports, Warehouse, Supervisor]]:
    wanted = own_settings(data_dir, free_port(), click_window_s=WINDOW_S, log=unused(trial.log))
    system = plan(wanted.model_copy(update={"api_workers": API_WORKERS}))
    with ExitStack() as stack:
        supervisor = stack.enter_context(Supervisor(system.services, system.settings.data_dir))
        settings = system.settings
        log, state, warehouse = open_log(settings.log), open_state(settings.state), open_warehouse(settings.warehouse)
        for port in (log, state, warehouse):
            stack.callback(port.close)
        partitions = create_topics(log, settings.partitions)
        ports = Ports(log, state, open_artifacts(settings), settings.data_dir / "spool", partitions)
        yield settings, ports, warehouse, supervisor


@dataclass(slots=True)
class _Load:
    """The sources of a run, of which the first two kinds count what was acknowledged."""

    visitors: list[Visitors]
    shoppers: Shoppers
    office: Office
    poisoner: Poisoner

    @property
    def sources(self) -> list[Source]:
        return [*self.visitors, self.shoppers, self.office, self.poisoner]

    @property
    def acknowledged(self) -> list[str]:
        """Ids of acknowledged events."""
        return [*chain.from_iterable(one.acknowledged for one in self.visitors), *self.shoppers.acknowledged]


@contextmanager
def _load(settings: Settings, ports: Ports, seed: int) -> Iterator[_Load]:
    """Send while the block runs.

    Raises:
        Rejected: the API refused something for good.
    """
    stop, clock, producer, clients = Event(), EventClock(WINDOW_S), open_log(settings.log), ExitStack()

    def client() -> Client:
        made = Client(settings.host, settings.port, stop)
        clients.callback(made.close)
        return made

    load = _Load(
        [Visitors(f"visitors-{i}", client(), clock, stop, f"{seed}-{i}") for i in range(VISITORS)],
        Shoppers(client(), clock, lambda: until_joined(ports, stop.is_set), stop, f"{seed}-shoppers"),
        Office(client(), stop, f"{seed}-office"),
        Poisoner(producer, ports.partitions, clock, stop, f"{seed}-poisoner"),
    )
    load.office.load_catalogue()
    for source in load.sources:
        source.start()
    try:
        yield load
    finally:
        stop.set()
        for source in load.sources:
            source.join()
        clients.close()
        producer.close()
    for source in load.sources:
        if source.failure is not None:
            raise source.failure


def _compare(outcome: Outcome, load: _Load, seen: Seen, ports: Ports, warehouse: Warehouse) -> None:
    outcome.messages = sum(map(len, seen.values()))
    outcome.merges = load.office.merges
    letters = compare_state(outcome, seen, ports.state, ports.partitions, load.acknowledged)
    compare_catalogue(outcome, seen, ports.state)
    compare_letters(outcome, seen, ports.state, letters)
    compare_join(outcome, seen, ports.state, ports.partitions, WINDOW_S)
    compare_artifacts(outcome, seen, ports.artifacts)
    compare_warehouse(outcome, seen, warehouse, load.shoppers.answered)
    outcome.slates_lost += len(unlogged(seen, load.shoppers.answered))
    outcome.log_different = changed(seen, ports.log)
