"""User tokens: a shop's server signs in whose name a page may act, as a JSON Web Token (RFC 7519, HS256)."""

from __future__ import annotations

import base64
import binascii
import hmac
import math

import msgspec

MAX_TOKEN = 2048  # characters
_decode_header = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Claims(msgspec.Struct):
    sub: str
    exp: float


_decode_claims = msgspec.json.Decoder(_Claims).decode


class BadToken(ValueError):
    """The token is none, is not signed by the secret, or has expired; the message says which."""


def signed(user_id: str, expires_at: float, secret: bytes) -> str:
    """Return a token for a user.

    >>> verified(signed("7", 100.0, b"secret"), b"secret", now=99.0)
    '7'
    """
    claims = {"sub": user_id, "exp": expires_at}
    text = f"{_encoded(msgspec.json.encode({'alg': 'HS256', 'typ': 'JWT'}))}.{_encoded(msgspec.json.encode(claims))}"
    return f"{text}.{_encoded(_mac(text, secret))}"


def verified(token: str, secret: bytes, *, now: float) -> str:
    """Return the user id that a token names.

    Args:
        token: header, claims and signature.
        secret: that it must be signed with; HS256 is the only algorithm taken.
        now: epoch seconds.

    Raises:
        BadToken: it does not count.
    """
    try:
        text, _, signature = token[:MAX_TOKEN].rpartition(".")
        header, _, claims = text.partition(".")
        is_signed = hmac.compare_digest(_decoded(signature), _mac(text, secret))
        if not is_signed or bytes(_decode_header(_decoded(header))["alg"]) != b'"HS256"':
            raise BadToken("the user token is not signed by this shop's secret with HS256")
        said = _decode_claims(_decoded(claims))
    except (binascii.Error, UnicodeError, msgspec.MsgspecError, KeyError):
        raise BadToken("the user token is no JSON Web Token with sub and exp") from None
    if not (math.isfinite(said.exp) and now < said.exp):
        raise BadToken("the user token has expired")
    return said.sub


def _mac(text: str, secret: bytes) -> bytes:
    return hmac.digest(secret, text.encode(), "sha256")


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
