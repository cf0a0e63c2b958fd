"""The topics of the log: with one partition for each of the users', and with a single one."""

from __future__ import annotations

from online.core.catalogue import ITEMS
from online.core.control import CONTROL
from online.core.dead_letter import DEAD, VERDICTS
from online.core.example import EXAMPLES
from online.core.join import SLATES
from online.core.partition import EVENTS, USERS
from online.core.shadow import SHADOWS
from online.core.update import UPDATES

USER_TOPICS = (EVENTS, USERS, SLATES)
"""Topics with a partition for each user partition; the one with the fewest says how many there are."""
SINGLE_TOPICS = (ITEMS, UPDATES, EXAMPLES, DEAD, VERDICTS, CONTROL, SHADOWS)
"""Topics with a single partition."""
