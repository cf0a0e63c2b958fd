"""The whole system on one machine: which services run, how they find each other, and when each is ready."""

from __future__ import annotations

import http.client
import json
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from headrace import valkey
from headrace.keys import KEYS_FILE, Keys, load_keys, prepare_data_dir
from headrace.lock import holder
from headrace.probe import require_data_dir
from headrace.settings import Settings, SettingsError
from headrace.supervisor import Service, free_port
from headrace.tenants import chosen, of_tenant
from headrace.warehouse import service as warehouse_service
from schemas.tenant import DEFAULT_TENANT

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # our own address is behind no proxy
FLOWS = ("state", "learn", "index", "record", "canary")


@dataclass(frozen=True, slots=True)
class System:
    """Settings with every URL filled in, and the services to supervise."""

    settings: Settings
    services: tuple[Service, ...]

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return api_url(self.settings)


def plan(settings: Settings, *, flows: tuple[str, ...] = FLOWS, api: bool = True, warehouse: bool = True) -> System:
    """Return the services for the settings: embedded ones for URLs left empty, then flows and API workers.

    Raises:
        DataDirError: the data directory cannot be used.
        ValkeyMissing: an embedded Valkey is needed and not there.
    """
    filled = _filled(settings)
    data_dir, keys = filled.data_dir, load_keys(filled.data_dir)
    services: list[Service] = []
    if not (settings.log and settings.state):
        services.append(valkey.service(data_dir, keys.valkey, settings.valkey_mb * 1024 * 1024))
    embedded_warehouse = _warehouse(data_dir, keys) if warehouse and not settings.warehouse else None
    if embedded_warehouse is not None:
        filled = filled.model_copy(update={"warehouse": embedded_warehouse[1]})
    env = _process_environment(filled.model_copy(update={"tenant": DEFAULT_TENANT}))
    services += _flows(flows, settings.state_flows, env)
    for tenant in sorted(settings.tenants.keys() - {DEFAULT_TENANT}):
        theirs = of_tenant(filled, tenant)
        theirs.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        services += _flows(flows, settings.state_flows, _process_environment(theirs), f"-{tenant}")
    if api:
        services += [_api(filled, number, env) for number in range(settings.api_workers)]
    if embedded_warehouse is not None:
        services.append(embedded_warehouse[0])
    return System(filled, tuple(services))


def located(settings: Settings) -> Settings:
    """Return the settings with the URLs of the embedded log and state store filled in, as they are for the tenant.

    Nothing is started.

    Raises:
        DataDirError: the data directory cannot be used.
    """
    return chosen(_filled(settings))


def _filled(settings: Settings) -> Settings:
    data_dir = prepare_data_dir(settings.data_dir)
    embedded = valkey.url(valkey.socket_path(data_dir), load_keys(data_dir).valkey)
    urls = {name: getattr(settings, name) or embedded for name in ("log", "state")}
    return settings.model_copy(update={**urls, "data_dir": data_dir})


def running(settings: Settings) -> Settings | None:
    """Return the settings, every URL filled in, of the system that runs in the data directory; None when none does.

    Raises:
        DataDirError: the data directory cannot be used.
    """
    filled = _filled(settings)
    if holder(filled.data_dir) is None:
        return None
    if filled.warehouse:
        return chosen(filled)
    url = warehouse_service.url(warehouse_service.known_port(filled.data_dir), load_keys(filled.data_dir).warehouse)
    return chosen(filled.model_copy(update={"warehouse": url}))


def joined(settings: Settings, *services: str) -> Settings:
    """Return the settings with the URLs of these services ("log", "state", "warehouse"): those given, else those of
    the system that runs in the data directory.

    Raises:
        SettingsError: one is missing.
    """
    missing = [name for name in services if not getattr(settings, name)]
    if not missing:
        return chosen(settings)
    require_data_dir(settings)
    if holder(prepare_data_dir(settings.data_dir)) is None:
        urls = ", ".join(f"HEADRACE_{name.upper()}" for name in missing)
        raise SettingsError(f"nothing runs in {settings.data_dir}: start headrace up, or set {urls}")
    return (running(settings) if "warehouse" in missing else None) or located(settings)


def environment(settings: Settings) -> dict[str, str]:
    """Return the settings as the environment of a child process."""
    document = settings.model_dump(mode="json")
    return {f"HEADRACE_{name.upper()}": _text(value) for name, value in document.items()}


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return json.dumps(value) if isinstance(value, dict) else str(value)


def api_url(settings: Settings) -> str:
    """Return where the API answers.

    >>> api_url(Settings(host="::1", port=9000))
    'http://[::1]:9000'
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _process_environment(settings: Settings) -> dict[str, str]:
    # Our matrices are small: a pool of BLAS threads would only spin on the cores that the other processes need.
    return {**environment(settings), "OPENBLAS_NUM_THREADS": "1"}


def _flows(names: tuple[str, ...], state_flows: int, env: dict[str, str], suffix: str = "") -> list[Service]:
    return [
        _flow(name, number, env, suffix) for name in names for number in range(state_flows if name == "state" else 1)
    ]


def _flow(name: str, number: int, env: dict[str, str], suffix: str) -> Service:
    argv = [sys.executable, "-m", "headrace", "flow", name, "--number", str(number)]
    nth = f"-{number}" if number else ""
    return Service(name=f"flow-{name}{suffix}{nth}", argv=argv, ready=lambda: True, env=env)


def _api(settings: Settings, number: int, env: dict[str, str]) -> Service:
    url = f"{api_url(settings)}/health/ready"
    argv = [sys.executable, "-m", "headrace", "run", "api", str(number)]
    return Service(name=f"api-{number}", argv=argv, ready=lambda: answers(url), env=env, ready_timeout_s=120.0)


def _warehouse(data_dir: Path, keys: Keys) -> tuple[Service, str]:
    port = free_port()
    service = warehouse_service.service(data_dir, port, data_dir / KEYS_FILE)
    return service, warehouse_service.url(port, keys.warehouse)


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Say whether the URL answers with success."""
    try:
        with _DIRECT.open(url, timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException):  # the latter: something else listens there
        return False
