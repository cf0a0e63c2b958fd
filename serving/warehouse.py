"""What routes read from the warehouse: outside the event loop, and 503 while it is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from online.ports import Unavailable, Warehouse, WarehouseError

from .problem import Problem
from .worker import Worker

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def from_warehouse(worker: Worker, read: Callable[[Warehouse], T]) -> T:
    """Return what is read from the warehouse.

    Raises:
        Problem: 503, there is none or it does not answer.
    """
    open_warehouse = worker.ports.open_warehouse
    if open_warehouse is None:
        raise Problem(503, "no_warehouse", "this worker has no warehouse to read from")

    def answered() -> T:
        with closing(open_warehouse()) as warehouse:
            return read(warehouse)

    try:
        return await asyncio.to_thread(answered)
    except (Unavailable, WarehouseError) as error:
        logger.warning("the warehouse: %s", error)  # its words may be long, and repeat what was asked
        detail = "the warehouse does not answer, or refuses; try again later"
        raise Problem(503, "warehouse_away", detail) from None
