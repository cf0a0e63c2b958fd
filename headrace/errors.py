"""The errors a user can act on: the command line prints their one line instead of a stack trace."""

from __future__ import annotations

from flows.bridge import BridgeError
from headrace.keys import DataDirError
from headrace.lock import AlreadyRunning
from headrace.settings import SettingsError
from headrace.supervisor import ServiceFailed
from headrace.valkey import ValkeyMissing
from online.adapters.chdb_files import BadFile
from online.connect import BadUrl
from online.core.checkpoint import NewerVersion
from online.core.foreign_event import BadMapping
from online.core.redrive import NotRedrivable
from online.dead_letters import Decided, NoLetter
from online.ports import Fenced, LogError, Unavailable, WarehouseError
from replay.http_system import Rejected

USER_ERRORS = (
    AlreadyRunning,
    BadFile,
    BadMapping,
    BadUrl,
    BridgeError,
    Rejected,
    DataDirError,
    Decided,
    Fenced,
    LogError,
    NewerVersion,
    NoLetter,
    NotRedrivable,
    SettingsError,
    ServiceFailed,
    Unavailable,
    ValkeyMissing,
    WarehouseError,
)
