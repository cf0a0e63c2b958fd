"""Settings: read once from the environment and the command line, then handed down as arguments."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from online.adapters.pulsar_url import PULSAR_SCHEMES, parse_pulsar_url
from online.core.value import Value
from schemas.tenant import DEFAULT_TENANT, TenantName

API_KEYS_FILE = "api-keys.json"  # in the data directory; see `headrace keys`
MIN_SECRET = 32  # characters

STORE_SCHEMES = ("redis", "rediss", "unix")
WAREHOUSE_SCHEMES = ("http", "https")
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")
_OUTCOMES = frozenset(field.name for field in fields(Value))


def _hard_to_guess(secret: str) -> str:
    if secret and len(secret) < MIN_SECRET:
        msg = f"a secret has at least {MIN_SECRET} characters"
        raise ValueError(msg)
    return secret


Secret = Annotated[str, AfterValidator(_hard_to_guess)]


class SettingsError(Exception):
    """The settings do not fit; the message is one line that says what to do."""


class Tenant(BaseModel):
    """What is said of a tenant: how many requests a second all its keys have together, and how many at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_s: Annotated[float, Field(gt=0)] | None = None
    burst: Annotated[int, Field(ge=1)] | None = None
    user_token_key: Secret = ""


class Settings(BaseSettings):
    """Settings of every process. Each is read from `HEADRACE_<NAME>`; URLs left empty mean the embedded service."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", env_ignore_empty=True, frozen=True, extra="ignore")

    log: str = Field(default="", description="Event log: pulsar://, pulsar+ssl://, redis://, rediss:// or unix:// URL")
    pulsar_token: str = Field(default="", description="Token for a Pulsar log whose URL names none")
    state: str = Field(default="", description="State store: redis://, rediss:// or unix:// URL")
    warehouse: str = Field(default="", description="ClickHouse: http(s)://user:key@host:port/database")
    data_dir: Path = Field(default=Path(".headrace"), description="Embedded services, artifacts, spools, logs")
    host: str = Field(default="127.0.0.1", description="Address of the API; another than loopback needs API keys")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=8700, description="Port of the API")
    partitions: Annotated[int, Field(ge=1, le=256)] = Field(
        default=4, description="User partitions of a new log; an existing log keeps its own"
    )
    valkey_mb: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Memory of the embedded Valkey in MiB; 0: half of the machine's"
    )
    state_flows: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="Processes of the state flow, which share the partitions"
    )
    api_workers: Annotated[int, Field(ge=1, le=64)] = Field(default=1, description="API processes")
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="API keys with every scope, comma-separated; needed off loopback, or 'headrace keys'"
    )
    publishable_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Keys that web pages hold: they open events, merges and slates only"
    )
    user_token_key: Secret = Field(
        default="", description="Signs the tokens without which pages act for no user; empty: pages act for anybody"
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins whose pages may read the answers, as https://shop.example"
    )
    tenants: Annotated[dict[TenantName, Tenant], NoDecode] = Field(
        default={}, description="Tenants beside the default one, each with its limit and user_token_key, as JSON"
    )
    tenant: TenantName = Field(default=DEFAULT_TENANT, description="Whose data a command is about")
    click_window_s: Annotated[float, Field(gt=0)] = Field(
        default=1800.0, description="Seconds of event time after which a slate's outcomes are learned"
    )

    ranker: Literal[
        "", "pointwise-1", "pointwise-2", "pairwise-1", "listwise-1", "listwise-2", "newton-1", "newton-2"
    ] = Field(default="", description="Candidate that ranks; empty: the one that has so far, newton-2 in a new system")
    values: Annotated[dict[str, Value], NoDecode] = Field(
        default={}, description="What click, cart and purchase are worth, by surface, as JSON; else 1, 3 and 10"
    )
    new_items: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], NoDecode] = Field(
        default={}, description="Share of the draws that new items get, by surface, as JSON"
    )
    holdout: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.01, description="Share of users answered by popularity for good, and never learned from"
    )

    @field_validator("api_keys", "publishable_keys", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(key for key in (part.strip() for part in value.split(",")) if key)

    @field_validator("tenants", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        return _parsed(value)

    @field_validator("values", "new_items", mode="before")
    @classmethod
    def _by_surface(cls, value: object) -> object:
        given = _parsed(value)
        worths = given.values() if isinstance(given, dict) else ()
        unknown = sorted({name for worth in worths if isinstance(worth, dict) for name in worth} - _OUTCOMES)
        if unknown:
            raise ValueError(f"outcomes are {', '.join(sorted(_OUTCOMES))}, not {', '.join(unknown)}")
        return given

    @model_validator(mode="before")
    @classmethod
    def _puts_the_token_into_the_url(cls, given: dict[str, object]) -> dict[str, object]:
        token, url = given.get("pulsar_token"), given.get("log")
        if not (isinstance(token, str) and isinstance(url, str)):
            return given
        return {**given, "log": with_token(url, token)}

    @field_validator("log")
    @classmethod
    def _opens_a_log(cls, url: str) -> str:
        if urlsplit(url).scheme in PULSAR_SCHEMES:
            parse_pulsar_url(url)
            return url
        return _checked(url, (*PULSAR_SCHEMES, *STORE_SCHEMES))

    @field_validator("state")
    @classmethod
    def _opens_a_store(cls, url: str) -> str:
        return _checked(url, STORE_SCHEMES)

    @field_validator("warehouse")
    @classmethod
    def _opens_a_warehouse(cls, url: str) -> str:
        return _checked(url, WAREHOUSE_SCHEMES)

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                msg = "an origin is http(s)://host or http(s)://host:port, in lower case and without a path"
                raise ValueError(msg)
        return origins

    @model_validator(mode="after")
    def _keeps_what_pages_hold_apart(self) -> Self:
        if self.publishable_keys and (not self.api_keys or {*self.api_keys} & {*self.publishable_keys}):
            msg = "HEADRACE_PUBLISHABLE_KEYS needs HEADRACE_API_KEYS, and none of them"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _knows_the_tenant(self) -> Self:
        if self.tenant not in (DEFAULT_TENANT, *self.tenants):
            msg = f"HEADRACE_TENANT is one of HEADRACE_TENANTS: {', '.join(sorted({DEFAULT_TENANT, *self.tenants}))}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _is_closed_or_keyed(self) -> Self:
        if not (self.api_keys or self.has_keys_file) and not _is_loopback(self.host):
            msg = (
                f"HEADRACE_API_KEYS must be set before the API may listen on {self.host}, or keys be made with "
                "'headrace keys create'; loopback needs none"
            )
            raise ValueError(msg)
        return self

    @property
    def has_keys_file(self) -> bool:
        """Say whether keys were made with `headrace keys`."""
        return (self.data_dir.expanduser() / API_KEYS_FILE).exists()

    @property
    def key_digests(self) -> frozenset[str]:
        """SHA-256 of the API keys, as the API compares them."""
        return _digests(self.api_keys)

    @property
    def publishable_key_digests(self) -> frozenset[str]:
        """SHA-256 of the keys that web pages hold."""
        return _digests(self.publishable_keys)

    def shown(self) -> dict[str, object]:
        """Return the settings without secrets."""
        document = self.model_dump(mode="json")
        for name in ("log", "state", "warehouse"):
            document[name] = without_secret(document[name])
        document["api_keys"] = len(self.api_keys)
        document["publishable_keys"] = len(self.publishable_keys)
        for name in ("pulsar_token", "user_token_key"):
            document[name] = "***" if document[name] else ""
        for tenant in document["tenants"].values():
            tenant["user_token_key"] = "***" if tenant["user_token_key"] else ""
        return document


def load_settings(**overrides: object) -> Settings:
    """Return the settings of the environment, with the command line's own values before them.

    Raises:
        SettingsError: a value does not fit.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = f"HEADRACE_{str(first['loc'][0]).upper()}: " if first["loc"] else ""
        raise SettingsError(f"{name}{first['msg'].removeprefix('Value error, ')}") from None


def own_settings(data_dir: Path, port: int, click_window_s: float | None = None, log: str = "") -> Settings:
    """Return the settings of a system for a demo or a proof: embedded services, loopback, no keys.

    URLs of the environment do not count: made-up traffic has no place in the stores they name. `log` is the URL of a
    log that is meant for it.
    """
    return load_settings(
        data_dir=data_dir,
        port=port,
        host="127.0.0.1",
        log=log,
        state="",
        warehouse="",
        api_keys=(),
        publishable_keys=(),
        tenants={},
        tenant=DEFAULT_TENANT,
        click_window_s=click_window_s,
        holdout=0.0,
    )


def with_token(url: str, token: str) -> str:
    """Return the URL of a Pulsar log with a token, unless it names one; other URLs as they are.

    >>> with_token("pulsar+ssl://host/tenant/shop", "e30.e30.x")
    'pulsar+ssl://:e30.e30.x@host/tenant/shop'
    """
    parts = urlsplit(url)
    if not token or parts.scheme not in PULSAR_SCHEMES or "@" in parts.netloc or "token_file=" in parts.query:
        return url
    return urlunsplit(parts._replace(netloc=f":{quote(token, safe='')}@{parts.netloc}"))


def without_secret(url: str) -> str:
    """Return a URL without its password.

    >>> without_secret("redis://user:secret@host:6379/0")
    'redis://user:***@host:6379/0'
    """
    parts = urlsplit(url)
    if parts.password is not None:
        parts = parts._replace(netloc=f"{parts.username or ''}:***@{parts.netloc.rpartition('@')[2]}")
    options = parse_qsl(parts.query, keep_blank_values=True)
    if any(name == "password" for name, _ in options):
        shown = [(name, "***" if name == "password" else value) for name, value in options]
        parts = parts._replace(query=urlencode(shown, safe="*"))
    return urlunsplit(parts)


def _parsed(value: object) -> object:
    """Return the value of a setting that is given as JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from None


def _digests(keys: tuple[str, ...]) -> frozenset[str]:
    return frozenset(sha256(key.encode()).hexdigest() for key in keys)


def _checked(url: str, schemes: tuple[str, ...]) -> str:
    """Return the URL if it can be opened; what is wrong is told without the URL, which may hold a password."""
    if not url:
        return url
    use = f"use {', '.join(f'{scheme}://' for scheme in schemes)}"
    try:
        parts = urlsplit(url)
        is_complete = bool(parts.path if parts.scheme == "unix" else parts.hostname) and parts.port != 0
    except ValueError as error:
        msg = f"this is no URL ({error}): {use}"
        raise ValueError(msg) from None
    if parts.scheme not in schemes:
        msg = f"nothing speaks {parts.scheme!r}: {use}" if parts.scheme else f"this is no URL: {use}"
        raise ValueError(msg)
    if not is_complete:
        msg = f"the URL names no place: {use} and a host, or the path of a socket"
        raise ValueError(msg)
    return url


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
