"""Commands that bring in events of other systems: bridge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.bridge import Engine
from headrace.cli.app import DataDir, Json, app, explained, print_json, print_table, say

bridge = typer.Typer(help="Bring in events of other systems.", no_args_is_help=True)
app.add_typer(bridge, name="bridge")


@bridge.command("kafka")
@explained
def bridge_kafka(
    brokers: Annotated[str, typer.Option(help="host:port of brokers, comma-separated.")],
    topic: Annotated[str, typer.Option(help="What to read; its messages are JSON.")],
    fields: Annotated[
        list[str] | None, typer.Option("--map", help="Our field = dotted path in a message; repeatable.")
    ] = None,
    types: Annotated[list[str] | None, typer.Option("--type", help="Their event type = ours; repeatable.")] = None,
    constants: Annotated[
        list[str] | None, typer.Option("--set", help="Our field = what it always is; repeatable.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML or JSON file with the tables fields, types and constants.")
    ] = None,
    engine: Annotated[Engine, typer.Option(help="What reads Kafka; bytewax is for volume.")] = "faust",
    group: Annotated[
        str, typer.Option(help="Consumer group, which keeps how far the topic was read; another one reads it anew.")
    ] = "headrace",
    member: Annotated[
        str | None, typer.Option(help="A name that this process keeps: after a crash it goes on at once.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Forward a Kafka topic into the log, each message once, until Ctrl-C; several processes share its partitions.

    What is no event becomes a dead letter. It needs a log and a state store: those of a running `headrace up`, or
    HEADRACE_LOG and HEADRACE_STATE.

    Examples:

        headrace bridge kafka --brokers localhost:9092 --topic clicks
        headrace bridge kafka --brokers kafka:9092 --topic shop --map user_id=customer.id --type pageview=view
        headrace bridge kafka --brokers kafka:9092 --topic shop --mapping shop.toml --engine bytewax --member bridge-1
    """
    from headrace import bridge as process
    from headrace.probe import require_data_dir
    from headrace.process import configure_logging
    from headrace.settings import load_settings
    from headrace.system import located

    read = process.read_mapping(mapping, fields or [], types or [], constants or [])
    settings = load_settings(data_dir=data_dir)
    require_data_dir(settings)
    configure_logging()
    say(f"forwarding {topic} with {engine}; Ctrl-C ends it")
    document = process.run_bridge(
        located(settings), read, engine, brokers=brokers, topic=topic, group=group, member=member
    )
    print_json(document) if as_json else print_table(document)
