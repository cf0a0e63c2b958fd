from __future__ import annotations

from pathlib import Path

import pytest

from online.adapters.pulsar_url import parse_pulsar_url


def test_a_bare_url_means_the_usual_ports_and_a_namespace_of_ours() -> None:
    url = parse_pulsar_url("pulsar://broker")

    assert (url.service, url.admin) == ("pulsar://broker:6650", "http://broker:8080")
    assert (url.tenant, url.namespace, url.token, url.ca_file) == ("public", "headrace", None, None)


def test_tls_is_meant_for_both_interfaces() -> None:
    url = parse_pulsar_url("pulsar+ssl://broker/shop/live?ca_file=/etc/ca.pem")

    assert (url.service, url.admin) == ("pulsar+ssl://broker:6651", "https://broker:8443")
    assert (url.tenant, url.namespace, url.ca_file) == ("shop", "live", "/etc/ca.pem")


def test_several_brokers_and_ipv6_keep_their_ports() -> None:
    url = parse_pulsar_url("pulsar://one,[::1]:7000/a/b")

    assert (url.service, url.admin) == ("pulsar://one:6650,[::1]:7000", "http://one:8080")


def test_a_token_comes_from_the_url_or_is_read_when_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n", encoding="utf-8")
    inline = parse_pulsar_url("pulsar://:a%2Bb@broker").token
    from_file = parse_pulsar_url(f"pulsar://broker?token_file={tmp_path}/token").token

    assert inline is not None
    assert from_file is not None
    assert (inline(), from_file()) == ("a+b", "first")
    (tmp_path / "token").write_text("second", encoding="utf-8")
    assert from_file() == "second"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("pulsar://", "names no host"),
        ("pulsar://:secret@one,,two", "names no host"),
        ("pulsar://host/only-a-tenant", "is /tenant/namespace"),
        ("pulsar://host?tenant=x", "no option tenant: there are admin, token_file, ca_file"),
        ("pulsar://host?admin=host:8080", "is an http:// or https:// URL"),
    ],
)
def test_what_does_not_fit_is_named_without_the_url(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        parse_pulsar_url(url)

    assert "secret" not in str(refused.value)
