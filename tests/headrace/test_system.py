from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.keys import KEYS_FILE, load_keys
from headrace.settings import Settings, SettingsError, load_settings
from headrace.supervisor import Service, Supervisor
from headrace.system import FLOWS, answers, environment, joined, located, plan
from online.core.value import Value

REDIS, CLICKHOUSE = "redis://:key@host:6379/0", "http://user:key@host:8123/x"


def names(services: tuple[Service, ...]) -> list[str]:
    return [service.name for service in services]


def test_without_urls_everything_is_embedded(tmp_path: Path) -> None:
    system = plan(Settings(data_dir=tmp_path / "data"))

    flows = [f"flow-{name}" for name in FLOWS]
    assert names(system.services) == ["valkey", *flows, "api-0", "warehouse"]
    assert system.settings.log == system.settings.state
    assert system.settings.log.startswith("unix://:")
    assert load_keys(tmp_path / "data").warehouse in system.settings.warehouse
    assert (tmp_path / "data" / KEYS_FILE).stat().st_mode & 0o777 == 0o600


def test_nothing_is_embedded_for_which_a_url_is_given(tmp_path: Path) -> None:
    given = Settings(data_dir=tmp_path / "data", log=REDIS, state=REDIS, warehouse=CLICKHOUSE, api_workers=2)
    system = plan(given)

    assert names(system.services) == [*(f"flow-{name}" for name in FLOWS), "api-0", "api-1"]
    assert system.settings == given


@pytest.mark.parametrize("name", ["log", "state"])
def test_a_valkey_is_embedded_for_the_one_that_has_no_url(tmp_path: Path, name: str) -> None:
    system = plan(Settings.model_validate({"data_dir": tmp_path / "data", name: REDIS}), flows=(), api=False)

    assert names(system.services) == ["valkey", "warehouse"]
    assert getattr(system.settings, name) == REDIS
    assert {system.settings.log, system.settings.state} > {REDIS}


def test_only_what_was_asked_for_is_planned(tmp_path: Path) -> None:
    system = plan(Settings(data_dir=tmp_path / "data"), flows=("state",), api=False, warehouse=False)

    assert names(system.services) == ["valkey", "flow-state"]
    assert system.settings.warehouse == ""


def test_a_child_reads_the_settings_back_from_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(
        data_dir=tmp_path / "data",
        warehouse=CLICKHOUSE,
        host="::1",
        port=9000,
        partitions=7,
        api_workers=2,
        api_keys=("one", "two"),
        publishable_keys=("three",),
        allowed_origins=("https://shop.example", "https://other.example"),
        click_window_s=0.5,
        values={"cart": Value(click=0.0)},
        new_items={"home": 0.1},
    )
    filled = plan(given).settings
    monkeypatch.setenv("HEADRACE_API_KEYS", "of the parent")
    for name, value in environment(filled).items():
        monkeypatch.setenv(name, value)

    assert load_settings() == filled


def test_without_keys_a_child_gets_none_of_the_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled = located(Settings(data_dir=tmp_path / "data"))
    monkeypatch.setenv("HEADRACE_API_KEYS", "of the parent")
    for name, value in environment(filled).items():
        monkeypatch.setenv(name, value)

    assert load_settings().api_keys == ()


def test_embedded_services_are_found_again_without_starting_them(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    planned = plan(settings).settings

    assert located(settings).log == planned.log
    assert located(settings).state == planned.state
    assert located(settings).data_dir.is_absolute()


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:9000"), ("::1", "http://[::1]:9000")])
def test_the_api_url_can_be_opened(tmp_path: Path, host: str, url: str) -> None:
    assert plan(Settings(data_dir=tmp_path / "data", host=host, port=9000)).api_url == url


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def http_url() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_only_success_is_an_answer(http_url: str) -> None:
    assert answers(f"{http_url}/well")
    assert not answers(f"{http_url}/ill")


def test_a_proxy_of_the_environment_is_not_asked_for_our_own_address(
    http_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies of its first use

    assert answers(f"{http_url}/well")


def test_something_that_speaks_no_http_is_no_answer() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def talk() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail ready\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        assert not answers(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join()


def test_the_state_flow_runs_in_as_many_processes_as_asked_for_each_with_a_number(tmp_path: Path) -> None:
    system = plan(Settings(data_dir=tmp_path / "data", state_flows=3), flows=("state", "learn"), api=False)

    flows = [service for service in system.services if service.name.startswith("flow")]
    assert [service.name for service in flows] == ["flow-state", "flow-state-1", "flow-state-2", "flow-learn"]
    assert [list(service.argv[-4:]) for service in flows[1:]] == [
        ["flow", "state", "--number", "1"],
        ["flow", "state", "--number", "2"],
        ["flow", "learn", "--number", "0"],
    ]


def test_a_process_joins_the_services_it_is_given(tmp_path: Path) -> None:
    given = Settings(data_dir=tmp_path / "data", log=REDIS, state=REDIS)

    assert joined(given, "log", "state") == given
    assert not (tmp_path / "data").exists()


def test_a_process_joins_the_system_of_its_data_directory_or_is_told_that_none_runs(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with pytest.raises(SettingsError, match="nothing ever ran"):
        joined(settings, "log", "state")
    located(settings)
    with pytest.raises(SettingsError, match="start headrace up, or set HEADRACE_LOG, HEADRACE_STATE"):
        joined(settings, "log", "state")

    with Supervisor([], tmp_path / "data"):
        found = joined(settings, "log", "state")
    assert found.log == found.state == located(settings).log
