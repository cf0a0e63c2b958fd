"""The errors a user can act on: the command line prints their one line instead of a stack trace."""

from __future__ import annotations

from headrace.keys import DataDirError
from headrace.lock import AlreadyRunning
from headrace.settings import SettingsError
from headrace.supervisor import ServiceFailed
from headrace.valkey import ValkeyMissing
from online.adapters.chdb_files import BadFile
from online.connect import BadUrl
from online.ports import Fenced, Unavailable, WarehouseError
from replay.http_system import Rejected

USER_ERRORS = (
    AlreadyRunning,
    BadFile,
    BadUrl,
    Rejected,
    DataDirError,
    Fenced,
    SettingsError,
    ServiceFailed,
    Unavailable,
    ValkeyMissing,
    WarehouseError,
)
