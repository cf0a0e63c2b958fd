"""What `headrace verify ladder` breaks, each thing alone, and how it is mended."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from typing import NamedTuple

from flows.learn import restored
from headrace.bench.rig import wait_until
from headrace.process import open_artifacts
from headrace.system import api_url
from headrace.verify.proxied import WORKERS, Proxied, Way
from headrace.verify.proxy import BLACK_HOLE, HALF_OPEN, RESET, SOUND, Fault
from headrace.verify.published import Damage, Edition, publish_damaged
from online.models.side_by_side import SIDE_BY_SIDE
from online.ports import Unavailable
from online.world import RANKER, VECTORS
from replay.http_system import HttpSystem, Rejected

ITEMS = 500
VICTIM = "api-0"

Act = Callable[[Proxied], None]


class Trial(NamedTuple):
    """Something that is broken for a while."""

    begin: Act
    end: Act


def _late(seconds: float) -> Fault:
    return Fault("late", delay_s=seconds)


STORE_FAULTS = (_late(0.008), Fault("slow", bytes_per_s=20_000.0), RESET, HALF_OPEN, BLACK_HOLE)
"""A round trip of 16 ms is within the deadline of a read, so that nothing but the waiting is wrong with it."""
LOG_FAULTS = (_late(0.1), Fault("slow", bytes_per_s=20_000.0), RESET, HALF_OPEN, BLACK_HOLE)


def trials() -> Mapping[str, Trial]:
    """Return what can be broken, by name; first nothing, for comparison.

    >>> [name for name in trials() if name.startswith("warehouse")]
    ['warehouse-killed', 'warehouse-stopped', 'warehouse-black-hole']
    """
    return dict(
        [
            ("nothing", Trial(lambda system: None, lambda system: None)),
            *_of_way("state", lambda system: system.state, STORE_FAULTS),
            *_of_way("log", lambda system: system.log, LOG_FAULTS),
            *_of_way("warehouse", lambda system: system.warehouse, (BLACK_HOLE,)),
            ("both-killed", Trial(_both_killed, _both_started)),
            ("index-damaged", Trial(partial(_damage_index, damage="flipped"), publish_vectors)),
            ("index-corrupt-at-start", Trial(partial(_damage_index, damage="truncated", restart=True), _index_back)),
            ("model-missing", Trial(_model_gone, _model_back)),
            ("worker-killed", Trial(_kill_worker, until_all_serve)),
        ]
    )


def _of_way(name: str, way: Callable[[Proxied], Way], faults: tuple[Fault, ...]) -> Iterator[tuple[str, Trial]]:
    yield (
        f"{name}-killed",
        Trial(lambda system: way(system).store.kill(), lambda system: way(system).store.start()),
    )
    yield (
        f"{name}-stopped",
        Trial(lambda system: way(system).store.stop(), lambda system: way(system).store.go_on()),
    )
    for fault in faults:
        yield f"{name}-{fault.name}", Trial(partial(_inject, way, fault), partial(_inject, way, SOUND))


def _inject(way: Callable[[Proxied], Way], fault: Fault, system: Proxied) -> None:
    way(system).proxy.inject(fault)


def _both_killed(system: Proxied) -> None:
    system.state.store.kill()
    system.log.store.kill()


def _both_started(system: Proxied) -> None:
    system.log.store.start()
    system.state.store.start()


def publish_vectors(system: Proxied) -> None:
    """Publish sound item vectors."""
    open_artifacts(system.rig.settings).publish(VECTORS, _edition().files, {"positions": {}})


def publish_ranker(system: Proxied) -> None:
    """Publish the rankers that learn side by side, as they are before they have learned anything."""
    files = restored(None).files()
    assert files is not None
    open_artifacts(system.rig.settings).publish(RANKER, files, {"positions": {}, "active": SIDE_BY_SIDE[0]})


def _edition() -> Edition:
    return Edition([f"item-{n}" for n in range(ITEMS)], seed=1)


def _damage_index(system: Proxied, *, damage: Damage, restart: bool = False) -> None:
    publish_damaged(system.rig.settings.data_dir / "artifacts", _edition().files, damage)
    if restart:
        _kill_worker(system)


def _index_back(system: Proxied) -> None:
    until_all_serve(system)
    publish_vectors(system)


def _model_gone(system: Proxied) -> None:
    shutil.rmtree(system.rig.settings.data_dir / "artifacts" / RANKER)
    _kill_worker(system)


def _model_back(system: Proxied) -> None:
    until_all_serve(system)
    publish_ranker(system)


def _kill_worker(system: Proxied) -> None:
    system.rig.supervisor.kill(VICTIM)


def until_all_serve(system: Proxied) -> None:
    """Wait until every worker takes requests.

    Raises:
        Unavailable: one does not.
    """
    found: set[str] = set()

    def is_found() -> bool:
        with closing(HttpSystem(api_url(system.rig.settings))) as api, suppress(Unavailable, Rejected):
            found.add(api.call("GET", "/health/ready")[1]["worker"])
        return len(found) == WORKERS

    wait_until(is_found, "not every worker takes requests", every_s=0.05)
