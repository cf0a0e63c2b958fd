"""The Kafka bridge: messages of another system's topic, checked, mapped and put into our log, each once."""

from typing import Literal

Engine = Literal["faust", "bytewax"]


class BridgeError(Exception):
    """The bridge cannot start or go on; the message says why in one line."""
