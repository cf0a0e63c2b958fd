"""Commands that run the system and look after it: up, config, schema, state, rebuild, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.app import DataDir, Json, Port, app, explained, print_json, print_table, say

runner = typer.Typer(hidden=True, help="Child processes of `headrace up`.")
app.add_typer(runner, name="run")


@app.command()
@explained
def up(data_dir: DataDir = None, port: Port = None, as_json: Json = False) -> None:
    """Start everything and run until Ctrl-C: embedded services, flows and the API.

    Examples:

        headrace up
        headrace up --port 9000 --data-dir /var/lib/headrace
        HEADRACE_STATE=redis://host:6379 HEADRACE_LOG=redis://host:6379 headrace up --json
    """
    from headrace.settings import load_settings
    from headrace.up import run_system

    run_system(load_settings(data_dir=data_dir, port=port), as_json=as_json)


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
    as_json: Json = False,
) -> None:
    """Write JSON Schema of every document and AsyncAPI of the log's topics, derived from the code.

    Examples:

        headrace schema
        headrace schema --out /tmp/schemas --json
    """
    from headrace.schema import write

    try:
        paths = write(out)
    except OSError as error:
        raise typer.BadParameter(f"cannot write to {out}: {error.strerror}", param_hint="--out") from None
    if as_json:
        print_json({"directory": str(out), "files": [path.name for path in paths]})
        return
    for path in paths:
        typer.echo(path)


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
def rebuild(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Fold every view anew from the archive and the log, and compare it with what was there.

    Stop `headrace up` first: the rebuild takes its data directory. Exits with 1 when a rebuilt view differs.

    Examples:

        headrace rebuild
        headrace rebuild --data-dir /var/lib/headrace --json
    """
    from headrace.rebuild import rebuild_views
    from headrace.settings import load_settings

    document = rebuild_views(load_settings(data_dir=data_dir), progress=say)
    print_json(document) if as_json else print_table(document)
    if not document["equal"]:
        raise typer.Exit(1)


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


@runner.command("flow")
@explained
def run_flow(name: str) -> None:
    """Run one flow."""
    from headrace import process
    from headrace.settings import load_settings

    if name not in process.FLOWS:
        raise typer.BadParameter(f"{name!r}: flows are {', '.join(process.FLOWS)}")
    process.configure_logging()
    process.FLOWS[name](load_settings())


@runner.command("api")
@explained
def run_api(number: int) -> None:
    """Run one API worker."""
    from headrace import process
    from headrace.settings import load_settings

    process.configure_logging()
    process.run_api(load_settings(), number)
