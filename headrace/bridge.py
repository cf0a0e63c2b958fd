"""The process of `headrace bridge kafka`: which mapping, which topic, which engine."""

from __future__ import annotations

import json
import tomllib
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from threading import Event as Flag
from typing import Any

from flows.bridge import Engine
from headrace.process import create_topics, patiently
from headrace.settings import Settings
from online.connect import open_log, open_state
from online.core.foreign_event import BadMapping, EventMapping

_TABLES = ("fields", "types", "constants")


def run_bridge(
    settings: Settings,
    mapping: EventMapping,
    engine: Engine,
    *,
    brokers: str,
    topic: str,
    group: str,
    member: str | None,
) -> dict[str, int]:
    """Forward a topic until SIGTERM or SIGINT; return what became of its messages.

    Raises:
        BridgeError: there is no such topic, or the engine gave up.
        LogError: the log can never keep one of the messages.
        Unavailable: log or brokers do not answer at the start.
    """
    from flows.bridge.forwarder import Forwarder
    from flows.bridge.kafka import find_topic

    stop = Flag()
    with closing(open_log(settings.log)) as log, closing(open_state(settings.state)) as state:
        partitions = patiently(lambda: create_topics(log, settings.partitions))
        found = find_topic(brokers, topic, group=group, member=member)
        forwarder = Forwarder(
            found, mapping, log=log, state=state, partitions=partitions, stop=stop, holdout=settings.holdout
        )
        if engine == "faust":
            from flows.bridge import faust_engine

            faust_engine.run(found, forwarder.forward, stop, settings.data_dir / "bridge")
        else:
            from flows.bridge import bytewax_engine

            bytewax_engine.run(found, forwarder.forward, stop)
    return asdict(forwarder.counts)


def read_mapping(path: Path | None, fields: list[str], types: list[str], constants: list[str]) -> EventMapping:
    """Return the mapping of a TOML or JSON file with the tables `fields`, `types` and `constants`, and of `a=b` pairs,
    which come before the file's.

    Raises:
        BadMapping: it is no such file, a pair is none, or events have no such field.

    >>> read_mapping(None, ["user_id=who.id"], [], ["surface=shop"]).fields
    {'user_id': 'who.id'}
    """
    tables = {} if path is None else _tables(path)
    given = zip(_TABLES, (fields, types, constants), strict=True)
    return EventMapping(**{name: {**tables.get(name, {}), **_pairs(pairs)} for name, pairs in given})


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise BadMapping(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise BadMapping(f"{path} is no {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    if not isinstance(document, dict) or not set(document) <= set(_TABLES):
        raise BadMapping(f"{path}: a mapping has the tables {', '.join(_TABLES)}, and no others")
    for name, table in document.items():
        takes = (str, bool, int, float) if name == "constants" else (str,)
        if not isinstance(table, dict) or not all(isinstance(value, takes) for value in table.values()):
            raise BadMapping(f"{path}: {name} is a table of {'values' if name == 'constants' else 'texts'}")
    return document


def _pairs(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name and sign and value):
            raise BadMapping(f"{pair!r} is no pair such as user_id=customer.id")
        found[name] = value
    return found
