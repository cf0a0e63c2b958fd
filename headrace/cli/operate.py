"""Commands that run the system and look after it: up, flow, config, schema, state, rebuild, repartition, doctor …"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.app import DataDir, Json, Port, app, explained, print_json, print_table, say

runner = typer.Typer(hidden=True, help="Child processes of `headrace up`.")
app.add_typer(runner, name="run")


@app.command()
@explained
def up(
    data_dir: DataDir = None,
    port: Port = None,
    state_flows: Annotated[int | None, typer.Option("--state-flows", help="Processes of the state flow.")] = None,
    as_json: Json = False,
) -> None:
    """Start everything and run until Ctrl-C: embedded services, flows and the API.

    Examples:

        headrace up
        headrace up --port 9000 --data-dir /var/lib/headrace
        headrace up --state-flows 2
        HEADRACE_STATE=redis://host:6379 HEADRACE_LOG=redis://host:6379 headrace up --json
    """
    from headrace.settings import load_settings
    from headrace.up import run_system

    run_system(load_settings(data_dir=data_dir, port=port, state_flows=state_flows), as_json=as_json)


@app.command()
@explained
def config(data_dir: DataDir = None, port: Port = None, as_json: Json = False) -> None:
    """Print the settings in force, without secrets.

    Examples:

        headrace config
        HEADRACE_PORT=9000 headrace config --json
    """
    from headrace.settings import Settings, load_settings

    shown = load_settings(data_dir=data_dir, port=port).shown()
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        description = Settings.model_fields[name].description
        typer.echo(f"HEADRACE_{name.upper():<15} {value if value != '' else '(embedded)'!s:<24} {description}")


@app.command()
@explained
def schema(
    out: Annotated[Path, typer.Option("--out", help="Directory of the documents; made when missing.")] = Path(
        "docs/schemas"
    ),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say what is incompatible or stale.")] = False,
    release: Annotated[
        Path | None, typer.Option("--release", help="Also write what a release must stay compatible with to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write JSON Schema of every document and AsyncAPI of the log's topics, derived from the code.

    With --check, exits with 1 when a message or record has changed so that programs of a released version could not
    read what this one writes, or this one what they wrote, or when the documents are not those of the code.

    Examples:

        headrace schema
        headrace schema --check
        headrace schema --out /tmp/schemas --json
        headrace schema --release schemas/released/2.json
    """
    from headrace.schema import write

    if check:
        _check_schemas(out, as_json)
        return
    try:
        if release is not None:
            from headrace.compatibility import write_release

            write_release(release)
        paths = write(out)
    except OSError as error:
        reason = f"cannot write to {error.filename}: {error.strerror}"
        raise typer.BadParameter(reason, param_hint="--out or --release") from None
    if as_json:
        print_json({"directory": str(out), "files": [path.name for path in paths]})
        return
    for path in paths:
        typer.echo(path)


def _check_schemas(directory: Path, as_json: bool) -> None:
    from headrace.compatibility import incompatibilities, released, stale

    document = {"released": sorted(released()), "incompatible": incompatibilities(), "stale": stale(directory)}
    if as_json:
        print_json(document)
    for line in document["incompatible"]:
        say(f"incompatible: {line}")
    for name in document["stale"]:
        say(f"stale: {directory / name}; write it with 'headrace schema'")
    if document["incompatible"] or document["stale"]:
        raise typer.Exit(1)
    say(f"compatible with version {', '.join(document['released'])}")


@app.command()
@explained
def state(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show what the views hold, in records and bytes, and how far behind the log they are.

    Examples:

        headrace state
        headrace state --data-dir /var/lib/headrace --json
    """
    from headrace.probe import require_data_dir
    from headrace.settings import load_settings
    from headrace.state_report import report
    from headrace.system import located

    settings = load_settings(data_dir=data_dir)
    require_data_dir(settings)
    document = report(located(settings))
    print_json(document) if as_json else print_table(document)


@app.command()
@explained
def rebuild(
    data_dir: DataDir = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Pass over snapshots: fold the whole past.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Learn ranker, vectors and blend anew as well.")] = False,
    as_json: Json = False,
) -> None:
    """Fold every view anew from snapshot, archive and log beside the old one, compare, and put it in its place.

    Works on a running system, which goes on serving, and on one that is stopped. Exits with 1 when a rebuilt view
    differs from what was there, or a part of its past is missing. With --models, also when a model differs by more than
    its tolerance: the ranker's weights by 1e-6; of the ten nearest of an item, by vectors, more than half; the session
    blend's strengths by half of their length, or its clicks by a tenth. What differs is published anew.

    Examples:

        headrace rebuild
        headrace rebuild --from-start --models --data-dir /var/lib/headrace --json
    """
    from headrace.rebuild.run import rebuild_views
    from headrace.settings import load_settings

    document = rebuild_views(load_settings(data_dir=data_dir), from_start=from_start, models=models, progress=say)
    print_json(document) if as_json else print_table(document)
    if not document["equal"]:
        raise typer.Exit(1)


@app.command()
@explained
def snapshot(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Fold every view on from its last snapshot to now, and keep that: the next rebuild starts there.

    Reads the log and the archive, never the living views, so that a damaged record is not carried on. Exits with 1
    when a part of a view's past is missing.

    Examples:

        headrace snapshot
        headrace snapshot --data-dir /var/lib/headrace --json
    """
    from headrace.rebuild.snapshot import take_snapshots
    from headrace.settings import load_settings

    document = take_snapshots(load_settings(data_dir=data_dir), progress=say)
    print_json(document) if as_json else print_table(document)
    if document["messages_missing"]:
        raise typer.Exit(1)


@app.command()
@explained
def repartition(
    partitions: Annotated[int, typer.Option("--partitions", min=1, max=256, help="How many there are to be.")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Give the log of a stopped system more user partitions, so that more processes can share the state flow.

    Stop every process of the system first, on every machine. Killed in the middle, it can be repeated: the system can
    also be started in between, and is whole. A record of each user that changes its partition goes through the log.

    Examples:

        headrace repartition --partitions 16
        headrace repartition --partitions 8 --data-dir /var/lib/headrace --json
    """
    from headrace.repartition import repartition as run
    from headrace.settings import load_settings

    document = run(load_settings(data_dir=data_dir), partitions, progress=say)
    print_json(document) if as_json else print_table(document)


@app.command()
@explained
def doctor(data_dir: DataDir = None, port: Port = None, as_json: Json = False) -> None:
    """Check the machine and the settings, and say what to do about what is wrong.

    Examples:

        headrace doctor
        headrace doctor --port 9000 --json
    """
    from headrace.doctor import checks
    from headrace.settings import load_settings

    found = checks(load_settings(data_dir=data_dir, port=port))
    if as_json:
        print_json({"ok": all(c.is_ok for c in found), "checks": [c._asdict() for c in found]})
    else:
        for check in found:
            typer.echo(f"{'ok ' if check.is_ok else 'BAD'}  {check.name:<12} {check.finding}")
    if not all(check.is_ok for check in found):
        raise typer.Exit(1)


@app.command()
@explained
def flow(
    name: Annotated[str, typer.Argument(help="state, learn, index, record or canary.", show_default=False)],
    data_dir: DataDir = None,
    number: Annotated[int | None, typer.Option("--number", min=0, hidden=True, help="Among the supervisor's.")] = None,
) -> None:
    """Run one more process of a flow, on any machine that reaches the log and the stores, until SIGTERM.

    It takes its share of the flow's partitions, and gives it back when it ends. learn and index keep their models in
    the data directory: a second process of theirs stands by, and must see the same directory.

    Examples:

        headrace flow state
        HEADRACE_LOG=redis://host:6379 HEADRACE_STATE=redis://host:6379 headrace flow state
    """
    from headrace import process
    from headrace.settings import load_settings
    from headrace.system import joined

    if name not in process.FLOWS:
        raise typer.BadParameter(f"{name!r}: flows are {', '.join(process.FLOWS)}")
    services = ("log", "state", "warehouse") if name in ("record", "canary") else ("log", "state")
    settings = joined(load_settings(data_dir=data_dir), *services)
    process.configure_logging()
    process.FLOWS[name](settings, process.member_name(settings, number))


@runner.command("api")
@explained
def run_api(number: int) -> None:
    """Run one API worker."""
    from headrace import process
    from headrace.settings import load_settings

    process.configure_logging()
    process.run_api(load_settings(), number)
