"""Where a Pulsar log is: `pulsar://[:token@]host:6650/tenant/namespace?admin=…&token_file=…&ca_file=…`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PULSAR_SCHEMES = ("pulsar", "pulsar+ssl")
DEFAULT_NAMESPACE = ("public", "headrace")
OPTIONS = ("admin", "token_file", "ca_file")
_ADMIN = {"pulsar": ("http", 8080), "pulsar+ssl": ("https", 8443)}


@dataclass(frozen=True, slots=True)
class PulsarUrl:
    """A parsed URL. `service` may list several hosts; `token` reads the token anew each time, so that it may change."""

    service: str
    admin: str
    tenant: str
    namespace: str
    token: Callable[[], str] | None
    ca_file: str | None


def parse_pulsar_url(url: str) -> PulsarUrl:
    """Return the parts of the URL.

    Raises:
        ValueError: it is not of this form; the message does not repeat it, since it may hold a token.

    >>> parsed = parse_pulsar_url("pulsar://broker/tenant/shop")
    >>> parsed.service, parsed.admin, parsed.tenant, parsed.namespace
    ('pulsar://broker:6650', 'http://broker:8080', 'tenant', 'shop')
    >>> parse_pulsar_url("pulsar+ssl://:secret@a,b:6700?admin=https://proxy").service
    'pulsar+ssl://a:6651,b:6700'
    """
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    default_port = 6651 if parts.scheme == "pulsar+ssl" else 6650
    addresses = [_with_port(host, default_port) for host in hosts.split(",")]
    tenant, namespace = _namespace(parts.path)
    options = _options(parts.query)
    scheme, port = _ADMIN[parts.scheme]
    return PulsarUrl(
        service=f"{parts.scheme}://{','.join(addresses)}",
        admin=options.get("admin", f"{scheme}://{addresses[0].rpartition(':')[0]}:{port}").rstrip("/"),
        tenant=tenant,
        namespace=namespace,
        token=_token(unquote(user.partition(":")[2]), options.get("token_file")),
        ca_file=options.get("ca_file"),
    )


def _with_port(address: str, default_port: int) -> str:
    parts = urlsplit(f"//{address}")
    if not parts.hostname:
        msg = "the URL names no host: use pulsar://host:6650"
        raise ValueError(msg)
    return address if parts.port is not None else f"{address}:{default_port}"


def _namespace(path: str) -> tuple[str, str]:
    names = [name for name in path.split("/") if name]
    if not names:
        return DEFAULT_NAMESPACE
    if len(names) != 2:
        msg = "the path of a pulsar:// URL is /tenant/namespace"
        raise ValueError(msg)
    return names[0], names[1]


def _options(query: str) -> dict[str, str]:
    options = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        msg = f"a pulsar:// URL has no option {', '.join(unknown)}: there are {', '.join(OPTIONS)}"
        raise ValueError(msg)
    if not options.get("admin", "http://").startswith(("http://", "https://")):
        msg = "the option admin of a pulsar:// URL is an http:// or https:// URL"
        raise ValueError(msg)
    return options


def _token(token: str, token_file: str | None) -> Callable[[], str] | None:
    if token:
        return lambda: token
    if token_file:
        return lambda: Path(token_file).read_text(encoding="utf-8").strip()
    return None
