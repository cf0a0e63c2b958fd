"""`headrace schema`: the documents of `docs/schemas/`, derived from the types in `schemas` and `online`."""

from __future__ import annotations

import re
from pathlib import Path

from online.core.catalogue import ITEMS
from online.core.control import CONTROL
from online.core.dead_letter import DEAD, VERDICTS, DeadLetter, Verdict
from online.core.example import EXAMPLES, Example
from online.core.join import SLATES
from online.core.partition import EVENTS, USERS
from online.core.shadow import SHADOWS
from online.core.update import UPDATES, Update
from schemas.control import ControlChange
from schemas.erasure import Erased
from schemas.event import EVENT_VERSION, Event, EventIn
from schemas.explanation import ExplanationOut
from schemas.export import JSON, MSGPACK, Document, Topic, asyncapi, edge_schema, rendered, struct_schema
from schemas.identity import Absorb, Forwarded, Merge, MergeIn
from schemas.item import Item, ItemIn
from schemas.move import Arrived, Departed
from schemas.preferences import Preferences, PreferencesIn, PreferencesOut
from schemas.shadow import ShadowSlate
from schemas.slate import RecommendIn, Slate, SlateOut
from schemas.user import User, UserIn

BY_USER = "hash of the user key: user_id, else visitor_id"
SINGLE = "nothing: one partition, one order"

EDGE = (EventIn, ItemIn, UserIn, MergeIn, PreferencesIn, PreferencesOut, RecommendIn, SlateOut, ExplanationOut)
"""Documents at the HTTP edge."""

TOPICS = (
    Topic(
        EVENTS,
        Event,
        JSON,
        BY_USER,
        "What users did, what they want of the recommender, and which visitor is which user. All events of a user are "
        "in one partition, in the order of their acceptance; those of a visitor come there once they are one.",
        writers=("api", "bridge", "flow_state"),
        readers=("flow_state", "flow_learn", "flow_record"),
        also=(Preferences, Erased, Merge, Absorb, Forwarded, Arrived, Departed),
    ),
    Topic(
        USERS,
        User,
        JSON,
        BY_USER,
        "What clients tell about a user; the latest document stands.",
        writers=("api",),
        readers=("flow_state", "flow_record"),
    ),
    Topic(
        SLATES,
        Slate,
        MSGPACK,
        f"{BY_USER}; of a request without either, its session items",
        "What was shown, with everything that choosing it has read.",
        writers=("api",),
        readers=("flow_learn", "flow_record"),
    ),
    Topic(
        ITEMS,
        Item,
        JSON,
        SINGLE,
        "The catalogue: the latest document of an item stands, a deleted one stays as a tombstone.",
        writers=("api",),
        readers=("flow_state", "flow_index", "flow_record", "api"),
    ),
    Topic(
        UPDATES,
        Update,
        MSGPACK,
        SINGLE,
        "What each committed batch changed in the shared views: absolute values; a seq already seen is a repeat.",
        writers=("flow_state",),
        readers=("flow_index", "api"),
    ),
    Topic(
        EXAMPLES,
        Example,
        MSGPACK,
        SINGLE,
        "One slate joined with its outcomes once its window has closed; recommendation_id names repeats.",
        writers=("flow_learn",),
        readers=("flow_learn", "flow_record"),
    ),
    Topic(
        DEAD,
        DeadLetter,
        JSON,
        SINGLE,
        "Messages that could not be processed, with the reason and their original bytes.",
        writers=("bridge", "flow_state", "flow_learn"),
        readers=("flow_state", "flow_record"),
    ),
    Topic(
        VERDICTS,
        Verdict,
        JSON,
        SINGLE,
        "What is to become of dead letters, by whom and why; the first verdict on a letter stands.",
        writers=("api",),
        readers=("flow_state", "flow_record"),
    ),
    Topic(
        CONTROL,
        ControlChange,
        JSON,
        SINGLE,
        "How the system is to behave: changes of policies, surfaces and models, each a versioned document.",
        writers=("api",),
        readers=("flow_state", "flow_record", "api"),
    ),
    Topic(
        SHADOWS,
        ShadowSlate,
        MSGPACK,
        SINGLE,
        "Slates that nobody saw: what another policy or model would have answered, beside what was served.",
        writers=("api",),
        readers=("flow_record",),
    ),
)

DOCUMENTS = {topic.name: topic.payload for topic in TOPICS if topic.content_type == JSON}
"""Topic -> what its JSON messages hold."""


def documents() -> dict[str, Document]:
    """Return every generated document by the name of its file."""
    edge = {_file_name(model): edge_schema(model) for model in EDGE}
    log = {_file_name(payload): struct_schema(payload) for topic in TOPICS for payload in topic.payloads}
    return {**edge, **log, "asyncapi.json": asyncapi(TOPICS, EVENT_VERSION)}


def _file_name(kind: type) -> str:
    """Return the name of the file that describes a type.

    >>> _file_name(EventIn)
    'event_in.json'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower() + ".json"


def write(directory: Path) -> list[Path]:
    """Write every document into the directory, which is made when missing, and return the paths.

    Raises:
        OSError: it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, document in documents().items():
        path = directory / name
        path.write_text(rendered(document), encoding="utf-8")
        paths.append(path)
    return paths
