"""Robots that say what they are: by a flag in the context of an event or request, or by a user agent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_NAMES = re.compile(r"(?<!cu)bot\b|crawl|spider|slurp|headless|phantomjs|scrapy|lighthouse", re.IGNORECASE)
"""What programs that act for nobody call themselves. CUBOT makes telephones; libraries such as curl are left out, since
they also speak for a shop's own server."""


@lru_cache(maxsize=1024)
def is_robot_agent(user_agent: str) -> bool:
    """Say whether a user agent is one of a robot, by its own words.

    >>> is_robot_agent("Mozilla/5.0 (compatible; Googlebot/2.1)"), is_robot_agent("Mozilla/5.0 (Linux; CUBOT X18)")
    (True, False)
    """
    return _NAMES.search(user_agent) is not None


def declares_robot(context: Mapping[str, object], user_agent: str = "") -> bool:
    """Say whether a context, or the user agent of the request it came with, declares a robot.

    The context's own `user_agent` counts too: a shop's server sends there what its visitor's browser said.

    >>> declares_robot({"robot": True}), declares_robot({"user_agent": "Yahoo! Slurp"}), declares_robot({"robot": "no"})
    (True, True, False)
    """
    if context.get("robot") is True or (user_agent and is_robot_agent(user_agent)):
        return True
    given = context.get("user_agent")
    return isinstance(given, str) and is_robot_agent(given)
