"""Names of tenants: they become parts of keys, paths and databases."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

DEFAULT_TENANT = "default"
"""The tenant whose data lies where the URLs of the settings lead."""

TenantName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
