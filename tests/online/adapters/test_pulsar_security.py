"""TLS and tokens, against a broker of its own that asks for both."""

from __future__ import annotations

import hmac
import secrets
import shutil
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from real_brokers import run_pulsar

from headrace.probe import problem_with
from headrace.settings import load_settings
from headrace.supervisor import free_port
from online.adapters.pulsar_log import PulsarLog
from online.ports import START, LogError, Unavailable

pytestmark = pytest.mark.brokers

TOPIC = "secured"


@dataclass(frozen=True)
class Secured:
    """A broker, and what opens it."""

    tls: str  # pulsar+ssl://…
    admin: str  # https://…
    ca_file: Path
    token: str

    def url(self, **options: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in {"ca_file": str(self.ca_file), **options}.items())
        return f"{self.tls}/public/secured?admin={self.admin}&{query}"


def signed(secret: bytes) -> str:
    """Return a token (JWT, HS256) for the role `headrace`."""
    words = [urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256"}', b'{"sub":"headrace"}')]
    words.append(urlsafe_b64encode(hmac.digest(secret, b".".join(words), sha256)).rstrip(b"="))
    return b".".join(words).decode()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing, which makes the certificate")
    keys, secret = tmp_path_factory.mktemp("keys"), secrets.token_bytes(32)
    (keys / "secret").write_bytes(secret)
    certificate = ["-keyout", keys / "key.pem", "-out", keys / "cert.pem", "-days", "2", "-subj", "/CN=localhost"]
    certificate += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *certificate],
        check=True,
        capture_output=True,
    )
    tls_port, https_port, token = free_port(), free_port(), signed(secret)
    extra = f"""
brokerServicePortTls={tls_port}
webServicePortTls={https_port}
tlsCertificateFilePath={keys}/cert.pem
tlsKeyFilePath={keys}/key.pem
authenticationEnabled=true
authenticationProviders=org.apache.pulsar.broker.authentication.AuthenticationProviderToken
tokenSecretKey=file://{keys}/secret
brokerClientAuthenticationPlugin=org.apache.pulsar.client.impl.auth.AuthenticationToken
brokerClientAuthenticationParameters=token:{token}
"""
    with run_pulsar(tmp_path_factory.mktemp("secured"), extra, token):
        yield Secured(f"pulsar+ssl://127.0.0.1:{tls_port}", f"https://127.0.0.1:{https_port}", keys / "cert.pem", token)


def test_the_right_token_over_tls_appends_and_reads(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LOG", secured.url())
    monkeypatch.setenv("HEADRACE_PULSAR_TOKEN", secured.token)
    settings = load_settings()

    with closing(PulsarLog(settings.log)) as log:
        log.create(TOPIC, 1)
        (position,) = log.append(TOPIC, [(0, b"x")])
        (batch,) = log.read({(TOPIC, 0): START}, max_messages=1, wait_s=5.0)

    assert batch.messages == [(position, b"x")]
    assert problem_with("log", settings.log) == ""


def test_a_token_file_is_read_anew_by_every_call(secured: Secured, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(signed(b"another secret of thirty-two bytes"), encoding="utf-8")

    with closing(PulsarLog(secured.url(token_file=str(token_file)))) as log:
        with pytest.raises(LogError, match="401"):
            log.partitions(TOPIC)
        token_file.write_text(f"{secured.token}\n", encoding="utf-8")
        assert log.partitions(TOPIC) in (0, 1)


def test_a_wrong_token_is_refused_and_not_shown(secured: Secured) -> None:
    wrong = signed(b"another secret of thirty-two bytes")
    url = secured.url().replace("://", f"://:{wrong}@", 1)

    with closing(PulsarLog(url, timeout_s=1.0)) as log, pytest.raises(Unavailable):
        log.append(TOPIC, [(0, b"x")])
    problem = problem_with("log", url)

    assert "refuses" in problem
    assert "401" in problem
    assert wrong not in problem


def test_a_certificate_of_nobody_known_is_no_broker_of_ours(secured: Secured) -> None:
    url = f"{secured.tls}/public/secured?admin={secured.admin}"

    with closing(PulsarLog(url, timeout_s=1.0)) as log:
        with pytest.raises(Unavailable, match="certificate"):
            log.partitions(TOPIC)
        with pytest.raises((Unavailable, LogError)):
            log.append(TOPIC, [(0, b"x")])
