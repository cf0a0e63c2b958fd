"""One API process: a worker and an application for each tenant, behind the keys that tell whose request it is."""

from __future__ import annotations

import os
import socket
from functools import partial

from headrace.api_keys import KeyRing
from headrace.process import create_topics, open_artifacts, patiently
from headrace.settings import Settings, Tenant
from headrace.tenants import of_tenant
from online.adapters.usearch_index import UsearchIndex
from online.connect import open_log, open_state, open_warehouse
from online.control.control import built_in
from online.core.item_table import ItemTable
from online.core.policy_document import policies_for
from online.dead_letters import DeadLetters
from online.vectors import read_vectors
from online.world import World
from schemas.tenant import DEFAULT_TENANT
from serving.access import Access, House
from serving.app import create_app
from serving.edge import Edge
from serving.grant import rate_of
from serving.worker import STATE_DEADLINE_S, Ports, Worker

TIMEOUT_S = 0.25  # of an append: after it, events go to the spool
CATCH_UP_S = 20.0  # after it a worker answers with what it has: the log may be away for long


def edge(settings: Settings, number: int) -> Edge:
    """Return the application of a process whose workers have caught up with the log, or have tried to for a while."""
    told = _tenants(settings)
    workers = {
        name: _worker(settings if name == DEFAULT_TENANT else of_tenant(settings, name), number) for name in told
    }
    apps = {name: create_app(worker) for name, worker in workers.items()}
    houses = {
        name: House(
            apps[name],
            rate=rate_of(tenant.per_s, tenant.burst),
            user_token_key=(
                tenant.user_token_key or (settings.user_token_key if name == DEFAULT_TENANT else "")
            ).encode(),
            is_ready=partial(_is_ready, workers[name]),
        )
        for name, tenant in told.items()
    }
    origins = settings.allowed_origins
    access = Access(houses, KeyRing(settings), allowed_origins=origins, processes=settings.api_workers)
    return Edge(list(apps.values()), access, allowed_origins=origins)


def _tenants(settings: Settings) -> dict[str, Tenant]:
    """Return all tenants, the default one with the user token key of the settings where it has none of its own."""
    default = settings.tenants.get(DEFAULT_TENANT, Tenant())
    key = default.user_token_key or settings.user_token_key
    return {**settings.tenants, DEFAULT_TENANT: default.model_copy(update={"user_token_key": key})}


def _is_ready(worker: Worker) -> bool:
    return worker.is_alive and worker.is_ready


def _worker(settings: Settings, number: int) -> Worker:
    """Return the worker of one tenant, started: before the process listens, since others may serve the port."""
    log = open_log(settings.log)
    partitions = patiently(lambda: create_topics(log, settings.partitions))
    log.close()
    spools = settings.data_dir / "spool"
    spools.mkdir(mode=0o700, parents=True, exist_ok=True)
    ports = Ports(
        open_log=partial(open_log, settings.log, timeout_s=TIMEOUT_S),
        state=open_state(settings.state, timeout_s=STATE_DEADLINE_S),
        artifacts=open_artifacts(settings),
        dead_letters=DeadLetters(
            log=open_log(settings.log), state=open_state(settings.state), holdout=settings.holdout
        ),
        open_vectors=lambda artifact: read_vectors(artifact, UsearchIndex.view),
        spool_directory=spools,
        partitions=partitions,
        name=f"api-{number}",
        member=f"api-{number}@{socket.gethostname()}:{os.getpid()}",
        holdout=settings.holdout,
        open_warehouse=partial(open_warehouse, settings.warehouse) if settings.warehouse else None,
    )
    policies = policies_for(settings.values, settings.new_items)
    worker = Worker(ports, World(ItemTable(partitions), control=built_in(policies)))
    worker.start(ready_within_s=CATCH_UP_S)
    return worker
