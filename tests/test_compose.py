"""docker-compose.yml and the Dockerfile fit the code: no engine is needed to find a wrong name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from headrace.cli.operate import app
from headrace.process import FLOWS
from headrace.settings import Settings
from headrace.system import FLOWS as STARTED_FLOWS
from online.connect import open_log, open_state, open_warehouse

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "headrace"}
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

every_service = pytest.mark.parametrize("name", SERVICES)
every_process = pytest.mark.parametrize("name", OURS)


def resolved(text: str) -> str:
    """Fill in `${NAME:?message}` with a value."""
    return re.sub(r"\$\{\w+:\?[^}]*\}", "key", text)


@every_service
def test_a_service_says_how_its_health_is_checked_or_that_it_is_not(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if check == {"disable": True}:
        assert name.startswith("flow-"), "only a flow goes unchecked"
        return
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert len(check["test"]) > 1
    assert {"interval", "timeout", "retries"} <= set(check)


@every_service
def test_a_service_waits_for_services_that_are_there_and_can_become_healthy(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "test" in SERVICES[other]["healthcheck"]
        assert "profiles" not in SERVICES[other]


@every_service
def test_a_volume_is_declared(name: str) -> None:
    named = [mount.partition(":")[0] for mount in SERVICES[name].get("volumes", [])]
    assert set(named) <= set(COMPOSE["volumes"])


@every_service
def test_a_setting_is_one_of_ours(name: str) -> None:
    given = [key for key in SERVICES[name].get("environment", {}) if key.startswith("HEADRACE_")]
    known = {f"HEADRACE_{field.upper()}" for field in Settings.model_fields}
    assert set(given) <= known
    assert bool(given) == (name in OURS)


@every_service
def test_a_port_is_published_on_loopback_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_there_is_an_api_and_every_flow() -> None:
    assert set(FLOWS) == set(STARTED_FLOWS)
    assert set(OURS) == {"api", *(f"flow-{name}" for name in FLOWS)}


@every_process
def test_a_process_runs_a_command_that_exists(name: str) -> None:
    assert 'ENTRYPOINT ["python", "-m", "headrace"]' in DOCKERFILE
    *group, kind, argument = SERVICES[name]["command"]
    commands = get_command(app).commands
    assert kind in (commands["run"].commands if group else commands)
    assert argument == ("0" if kind == "api" else name.removeprefix("flow-"))
    assert kind != "flow" or argument in FLOWS


@every_process
def test_a_process_has_settings_that_fit_and_urls_that_open(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in SERVICES[name]["environment"].items():
        monkeypatch.setenv(key, resolved(value))
    settings = Settings()
    open_log(settings.log).close()
    open_state(settings.state).close()
    open_warehouse(settings.warehouse).close()


def test_keys_are_asked_for_and_never_written_down() -> None:
    assert SERVICES["api"]["environment"]["HEADRACE_API_KEYS"].startswith("${HEADRACE_API_KEYS:?")
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if key.endswith(("_PASSWORD", "_KEY", "_KEYS")):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), key


def test_the_stores_keep_what_they_acknowledge() -> None:
    command = " ".join(SERVICES["valkey"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert SERVICES["pulsar"]["environment"]["journalSyncData"] == "true"


def test_the_image_holds_every_package_and_runs_as_nobody_in_particular() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE)) == packages
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {f"!{package}" for package in packages} <= set(ignored)
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["headrace"]


@every_process
def test_a_process_keeps_artifacts_and_spools_on_the_shared_volume(name: str) -> None:
    assert SERVICES[name]["environment"]["HEADRACE_DATA_DIR"] == "/data"
    assert SERVICES[name]["volumes"] == ["shared:/data"]
