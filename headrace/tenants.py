"""Tenants: shops that share log, stores and API processes, and nothing of each other's data.

A tenant is a namespace in each place that the URLs name: a prefix of keys in Redis, a namespace in Pulsar, a database
in ClickHouse, and a directory of its own for artifacts and spools. The default one has what those URLs name
themselves, so that a system which gets tenants keeps its data.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from headrace.settings import Settings
from online.adapters.pulsar_url import DEFAULT_NAMESPACE, PULSAR_SCHEMES
from online.adapters.redis_client import NAMESPACE
from schemas.tenant import DEFAULT_TENANT

DIRECTORY = "tenants"  # in the data directory


def chosen(settings: Settings) -> Settings:
    """Return settings whose URLs are filled in as they are for the tenant that they name."""
    return settings if settings.tenant == DEFAULT_TENANT else of_tenant(settings, settings.tenant)


def of_tenant(settings: Settings, tenant: str) -> Settings:
    """Return settings whose URLs are filled in as they are for a tenant; a URL that is left empty stays so.

    >>> here = Settings(log="pulsar://host/a/b", state="redis://host?db=1", warehouse="http://host/shop")
    >>> found = of_tenant(here, "x-1")
    >>> found.log, found.state, found.warehouse, str(found.data_dir)
    ('pulsar://host/a/b-x-1', 'redis://host?db=1&namespace=x-1', 'http://host/shop_x_1', '.headrace/tenants/x-1')
    """
    apart = {
        "log": settings.log and _log(settings.log, tenant),
        "state": settings.state and _named(settings.state, tenant),
        "warehouse": settings.warehouse and _database(settings.warehouse, tenant),
        "data_dir": settings.data_dir / DIRECTORY / tenant,
        "tenants": {},
        "tenant": DEFAULT_TENANT,
    }
    return settings.model_copy(update=apart)


def _log(url: str, tenant: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in PULSAR_SCHEMES:
        return _named(url, tenant)
    path = parts.path.strip("/") or "/".join(DEFAULT_NAMESPACE)
    return urlunsplit(parts._replace(path=f"/{path}-{tenant}"))


def _named(url: str, tenant: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{NAMESPACE}={tenant}"


def _database(url: str, tenant: str) -> str:
    parts = urlsplit(url)
    database = parts.path.strip("/") or "default"
    return urlunsplit(parts._replace(path=f"/{database}_{tenant.replace('-', '_')}"))
