"""Commands for API keys: create, list, revoke, and tokens for users."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.cli.app import DataDir, Json, app, explained, print_json, print_table, say

keys = typer.Typer(help="API keys: who may do what, for which tenant, until when.", no_args_is_help=True)
app.add_typer(keys, name="keys")

Expires = Annotated[str, typer.Option("--expires", help="90d, 12h, 30m, or a moment as 2027-01-31T00:00:00Z.")]


@keys.command()
@explained
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; shown in lists only.")],
    scope: Annotated[list[str], typer.Option("--scope", help="ingest, read or admin, several times; or page alone.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose data it opens.")] = "default",
    expires: Expires = "",
    rate: Annotated[float | None, typer.Option("--rate", min=0.001, help="Requests a second; else no limit.")] = None,
    burst: Annotated[int | None, typer.Option("--burst", min=1, help="At once; else those of a second.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Make a key and show it, this once: only its SHA-256 is kept. A running API takes it within a second.

    Once there is a key, requests without one are refused, on loopback as well.

    Examples:

        headrace keys create shop-server --scope ingest --scope read
        headrace keys create shop-pages --scope page --rate 500 --burst 1000
        headrace keys create ops --scope admin --expires 90d --json
    """
    import time

    from headrace.api_keys import create_key, parse_scopes
    from headrace.keys import prepare_data_dir
    from headrace.settings import load_settings
    from serving.grant import rate_of

    try:
        scopes = parse_scopes(scope)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--scope") from None
    if burst is not None and rate is None:
        raise typer.BadParameter("a burst needs a rate", param_hint="--burst")
    now = time.time()
    key, stored = create_key(
        prepare_data_dir(load_settings(data_dir=data_dir).data_dir),
        name=name,
        scopes=scopes,
        now=now,
        tenant=tenant,
        expires_at=_moment(expires, now) if expires else None,
        rate=rate_of(rate, burst),
    )
    document = {"key": key, **_described(stored)}
    print_json(document) if as_json else print_table(document)
    say("keep the key now: it is not shown again")


@keys.command("list")
@explained
def list_(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the keys that were made, those that are revoked or expired too; never a key itself.

    Examples:

        headrace keys list
        headrace keys list --data-dir /var/lib/headrace --json
    """
    from headrace.api_keys import stored_keys
    from headrace.settings import load_settings

    found = [_described(key) for key in stored_keys(load_settings(data_dir=data_dir).data_dir.expanduser())]
    if as_json:
        print_json({"keys": found})
        return
    for key in found:
        scopes = " ".join(key["scopes"])
        typer.echo(f"{key['id']}  {key['name']:<20} {key['tenant']:<12} {scopes:<18} {key['status']}")


@keys.command()
@explained
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, or its name.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Revoke a key: within a second no running API takes it any more.

    Examples:

        headrace keys revoke shop-pages
        headrace keys revoke 3f1b0c9a77e2 --json
    """
    import time

    from headrace.api_keys import NoSuchKey, revoke_key
    from headrace.settings import load_settings

    try:
        revoked = revoke_key(load_settings(data_dir=data_dir).data_dir.expanduser(), key, now=time.time())
    except NoSuchKey as error:
        raise typer.BadParameter(str(error), param_hint="KEY") from None
    print_json(_described(revoked)) if as_json else print_table(_described(revoked))


@keys.command()
@explained
def token(
    user_id: Annotated[str, typer.Argument(help="In whose name a page is to act.")],
    expires: Expires = "1h",
    as_json: Json = False,
) -> None:
    """Sign a user token with HEADRACE_USER_TOKEN_KEY, as a shop's server does for its pages.

    Examples:

        headrace keys token 7
        headrace keys token 7 --expires 12h --json
    """
    import time

    from headrace.settings import SettingsError, load_settings
    from serving.user_token import signed

    secret = load_settings().user_token_key
    if not secret:
        raise SettingsError("HEADRACE_USER_TOKEN_KEY is not set: pages act in anybody's name")
    expires_at = _moment(expires, time.time())
    text = signed(user_id, expires_at, secret.encode())
    print_json({"user_id": user_id, "token": text, "expires_at": expires_at}) if as_json else typer.echo(text)


def _described(key: Any) -> dict[str, Any]:
    """Return a stored key as it is shown."""
    import time

    is_expired = key.expires_at is not None and key.expires_at <= time.time()
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": key.scopes,
        "status": "revoked" if key.revoked_at is not None else "expired" if is_expired else "active",
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "requests_per_s": key.per_s,
        "burst": key.burst,
    }


def _moment(text: str, now: float) -> float:
    """Return the moment, epoch seconds, that a duration from now or a time names."""
    import re

    from schemas.fields import epoch_seconds

    duration = re.fullmatch(r"(\d{1,6})([dhm])", text)
    try:
        if duration:
            return now + int(duration[1]) * {"d": 86_400, "h": 3600, "m": 60}[duration[2]]
        at = epoch_seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from None
    if at <= now:
        raise typer.BadParameter("that moment has passed", param_hint="--expires")
    return at
