from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from headrace.settings import Settings, SettingsError, load_settings, own_settings, without_secret
from online.core.value import Value
from online.models.learner import CANDIDATES


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("HEADRACE_"):
            monkeypatch.delenv(name)


def test_without_an_environment_everything_is_embedded_and_on_loopback() -> None:
    settings = load_settings()

    assert (settings.log, settings.state, settings.warehouse) == ("", "", "")
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 8700, Path(".headrace"))
    assert settings.api_keys == ()


def test_the_command_line_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_PORT", "9000")
    monkeypatch.setenv("HEADRACE_DATA_DIR", "/data")

    assert load_settings(port=9001, data_dir=None).port == 9001
    assert load_settings(port=None).port == 9000
    assert load_settings().data_dir == Path("/data")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"HEADRACE_{name.upper()}", "")

    assert load_settings() == Settings()
    assert load_settings().data_dir == Path(".headrace")


def test_api_keys_are_split_at_commas_and_compared_by_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_API_KEYS", " one, two ,,")

    assert load_settings().api_keys == ("one", "two")
    assert load_settings().key_digests == {sha256(key).hexdigest() for key in (b"one", b"two")}


def test_keys_of_pages_are_kept_apart_from_secret_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_API_KEYS", "one")
    monkeypatch.setenv("HEADRACE_PUBLISHABLE_KEYS", "page, other")

    assert load_settings().publishable_key_digests == {sha256(key).hexdigest() for key in (b"page", b"other")}
    assert load_settings().shown()["publishable_keys"] == 2
    with pytest.raises(SettingsError, match="HEADRACE_PUBLISHABLE_KEYS"):
        load_settings(publishable_keys="one")
    with pytest.raises(SettingsError, match="HEADRACE_PUBLISHABLE_KEYS"):
        load_settings(api_keys="")


def test_origins_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_ALLOWED_ORIGINS", "https://shop.example, http://127.0.0.1:8080,http://[::1]:80")

    assert load_settings().allowed_origins == ("https://shop.example", "http://127.0.0.1:8080", "http://[::1]:80")


def test_any_candidate_may_be_named_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", *CANDIDATES):
        assert load_settings(ranker=name).ranker == name

    monkeypatch.setenv("HEADRACE_RANKER", "best")
    with pytest.raises(SettingsError, match="HEADRACE_RANKER: "):
        load_settings()


def test_surfaces_have_values_and_budgets_by_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_VALUES", '{"cart": {"click": 0, "purchase": 5}}')
    monkeypatch.setenv("HEADRACE_NEW_ITEMS", '{"home": 0.1}')

    assert load_settings().values == {"cart": Value(0.0, 3.0, 5.0)}
    assert load_settings().new_items == {"home": 0.1}


@pytest.mark.parametrize(
    ("name", "given", "complaint"),
    [
        ("VALUES", '{"cart": {"clck": 1}}', "outcomes are cart, click, purchase, not clck"),
        ("VALUES", '{"cart": {"click": -1}}', "outcomes are worth 0 or more"),
        ("VALUES", "cart=1", "it is no JSON"),
        ("VALUES", "[1]", "a valid dictionary"),
        ("NEW_ITEMS", '{"home": 2}', "less than or equal to 1"),
    ],
)
def test_what_surfaces_cannot_have_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str, complaint: str
) -> None:
    monkeypatch.setenv(f"HEADRACE_{name}", given)

    with pytest.raises(SettingsError, match=f"HEADRACE_{name}: .*{complaint}"):
        load_settings()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert load_settings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "shop.example", "localhost.example"])
def test_any_other_address_needs_keys(host: str) -> None:
    with pytest.raises(SettingsError, match="HEADRACE_API_KEYS must be set before the API may listen on"):
        load_settings(host=host)
    with pytest.raises(SettingsError, match="HEADRACE_API_KEYS"):
        load_settings(host=host, api_keys=" , ")

    assert load_settings(host=host, api_keys="key").host == host


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 0),
        ("port", 65_536),
        ("partitions", 0),
        ("api_workers", 0),
        ("click_window_s", 0.0),
        ("log", "memory:"),  # processes do not share it
        ("log", "http://host"),
        ("log", "pulsar://"),
        ("log", "pulsar://host/tenant"),
        ("log", "pulsar+ssl://host?ca=x"),
        ("state", "pulsar://host"),
        ("state", "redis://"),
        ("state", "redis://host:none"),
        ("state", "unix://"),
        ("warehouse", "redis://host"),
        ("warehouse", "http://:8123"),
        ("allowed_origins", "*"),
        ("allowed_origins", "shop.example"),
        ("allowed_origins", "https://shop.example/"),
        ("allowed_origins", "https://Shop.example"),
        ("allowed_origins", "null"),
    ],
)
def test_a_value_that_does_not_fit_is_named_in_one_line(name: str, value: object) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(**{name: value})

    message = str(refused.value)
    assert message.startswith(f"HEADRACE_{name.upper()}: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "url", ["redis://host", "rediss://:key@host:6380/1", "unix://:key@/run/valkey.sock", "redis://[::1]:6379"]
)
def test_urls_of_a_store_are_taken_as_they_are(url: str) -> None:
    assert load_settings(log=url, state=url).log == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:secret@host:6379/0", "redis://:***@host:6379/0"),
        ("unix://:secret@/run/valkey.sock?db=1", "unix://:***@/run/valkey.sock?db=1"),
        ("http://user:se%40cret@host:8123/x", "http://user:***@host:8123/x"),
        ("redis://host?db=1&password=secret", "redis://host?db=1&password=***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_secret(url) == shown


@pytest.mark.parametrize("url", ["pulsar://host", "pulsar+ssl://one:6651,two:6651/shop/live?admin=https://admin"])
def test_urls_of_a_pulsar_log_are_taken_as_they_are(url: str) -> None:
    assert load_settings(log=url).log == url


def test_a_pulsar_token_becomes_part_of_the_url_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG", "pulsar+ssl://host/shop/live")
    monkeypatch.setenv("HEADRACE_PULSAR_TOKEN", "e30.secret")
    settings = load_settings()

    assert settings.log == "pulsar+ssl://:e30.secret@host/shop/live"
    assert "secret" not in str(settings.shown())
    assert settings.shown()["pulsar_token"] == "***"


@pytest.mark.parametrize("url", ["pulsar://:own@host", "pulsar://host?token_file=/t", "redis://host"])
def test_a_pulsar_token_yields_to_the_url_own_and_means_nothing_elsewhere(url: str) -> None:
    assert load_settings(log=url, pulsar_token="e30.secret").log == url


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_a_demo_keeps_away_from_the_stores_and_keys_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADRACE_LOG", "redis://production:6379")
    monkeypatch.setenv("HEADRACE_STATE", "redis://production:6379")
    monkeypatch.setenv("HEADRACE_WAREHOUSE", "http://production:8123")
    monkeypatch.setenv("HEADRACE_HOST", "0.0.0.0")
    monkeypatch.setenv("HEADRACE_API_KEYS", "key")

    settings = own_settings(tmp_path, 9000, click_window_s=60.0)

    assert (settings.log, settings.state, settings.warehouse) == ("", "", "")
    assert (settings.host, settings.port, settings.api_keys) == ("127.0.0.1", 9000, ())
    assert (settings.data_dir, settings.click_window_s) == (tmp_path, 60.0)
