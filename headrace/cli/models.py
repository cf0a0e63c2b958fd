"""Commands that tell of learned models: models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.api import Because, Key, Url, call_api, tell
from headrace.cli.app import DataDir, Json, app, explained, print_json, print_table
from headrace.cli.documents import path_of

if TYPE_CHECKING:
    from headrace.settings import Settings

models = typer.Typer(help="The rankers that learn side by side, and how they compare.", no_args_is_help=True)
app.add_typer(models, name="models")


@models.command("list")
@explained
def list_(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the candidates for ranking: progressive figures, gain over the active one with its bound, lineage.

    Also how much each slot is looked at, by surface and device.

    A candidate is promotable once the lower bound of its gain in NDCG, which holds at all times at once, is above 0.

    Examples:

        headrace models list
        headrace models list --data-dir /var/lib/headrace --json
    """
    from headrace.model_report import listed

    document = listed(_settings(data_dir))
    print_json(document) if as_json else print_table(document)


@models.command()
@explained
def show(
    name: Annotated[str, typer.Argument(help="Of a candidate, as `models list` names it.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show one candidate: hyper-parameters, figures, weights by feature, and what sources are worth by surface.

    Examples:

        headrace models show listwise-1
        headrace models show pointwise-1 --json
    """
    from headrace.model_report import shown

    document = shown(_settings(data_dir), name)
    print_json(document) if as_json else print_table(document)


@models.command()
@explained
def activate(
    name: Annotated[str, typer.Argument(help="Of a candidate, as `models list` names it.")],
    because: Because = "",
    url: Url = None,
    api_key: Key = "",
    as_json: Json = False,
) -> None:
    """Let a candidate score where a policy says `learned`, and wait until every worker ranks by it.

    Examples:

        headrace models activate newton-1
        headrace models activate newton-1 --because "bound above 0" --json
    """
    tell(call_api("POST", f"{model_path(name)}:activate", url, api_key, {"reason": because}), as_json)


@models.command()
@explained
def rollback(
    name: Annotated[str, typer.Argument(help="Of the active candidate.")],
    because: Because = "",
    url: Url = None,
    api_key: Key = "",
    as_json: Json = False,
) -> None:
    """Take back that a candidate was made active: the one that was before is active again.

    Examples:

        headrace models rollback newton-1
        headrace models rollback newton-1 --because "fewer clicks" --json
    """
    tell(call_api("POST", f"{model_path(name)}:rollback", url, api_key, {"reason": because}), as_json)


def model_path(model: str) -> str:
    """Return the path of a candidate in the API."""
    name, _, version = model.rpartition("-")
    if not (name and version.isdigit()):
        raise typer.BadParameter(f"{model!r}: a candidate is named like newton-1")
    return f"{path_of('models', name)}/versions/{version}"


def _settings(data_dir: DataDir) -> Settings:
    from headrace.probe import require_data_dir
    from headrace.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    require_data_dir(settings)
    return settings
