from __future__ import annotations

import base64
import hmac
import json

import pytest

from serving.user_token import BadToken, signed, verified

SECRET = b"secret"


def token_of(header: object, claims: object, secret: bytes = SECRET) -> str:
    """Sign as any library of JSON Web Tokens does (RFC 7515, appendix A.1)."""
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in (header, claims)]
    text = b".".join(parts)
    mac = hmac.digest(secret, text, "sha256")
    return (text + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


HS256 = {"alg": "HS256", "typ": "JWT"}


def test_a_token_of_any_library_counts_until_it_expires() -> None:
    token = token_of(HS256, {"sub": "user-ü", "exp": 100, "iat": 1})

    assert verified(token, SECRET, now=99.9) == "user-ü"
    with pytest.raises(BadToken, match="expired"):
        verified(token, SECRET, now=100.0)


@pytest.mark.parametrize(
    "token",
    [
        token_of({"alg": "none"}, {"sub": "7", "exp": 100}),
        token_of({"alg": "HS512"}, {"sub": "7", "exp": 100}),
        token_of({}, {"sub": "7", "exp": 100}),
        token_of(HS256, {"sub": "7"}),
        token_of(HS256, {"exp": 100}),
        token_of(HS256, {"sub": 7, "exp": 100}),
        token_of(HS256, []),
        token_of(HS256, {"sub": "7", "exp": 100}, b"another"),
        signed("7", 100.0, SECRET)[:-1],
        signed("7", 100.0, SECRET) + "x",
        signed("7", 100.0, SECRET).rpartition(".")[0] + ".",
        "..",
        ".",
        "",
        "é.é.é",
        "x" * 100_000,
    ],
)
def test_what_is_not_signed_like_this_does_not_count(token: str) -> None:
    with pytest.raises(BadToken):
        verified(token, SECRET, now=1.0)
