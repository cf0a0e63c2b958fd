"""The bridge as a faust application: partitions shared by the processes of a group, offsets committed by faust."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event as Flag
from typing import cast

import faust
from aiokafka.errors import KafkaError
from faust.types import EventT, StreamT
from yarl import URL

from . import BridgeError
from .forwarder import Stopped
from .kafka import SESSION_TIMEOUT_S, KafkaMessage, KafkaTopic
from .standstill import Standstill

logger = logging.getLogger(__name__)

BATCH_MESSAGES = 1000
COMMIT_S = 1.0
STANDSTILL_S = 30.0  # longer than a group takes to share its partitions out anew

Forward = Callable[[Sequence[KafkaMessage]], None]


def build_app(topic: KafkaTopic, data_dir: Path) -> faust.App:
    """Return the application, which reads nothing yet; no setting of it comes from the environment."""
    return faust.App(
        topic.group,
        env={},
        broker=[URL(f"aiokafka://{broker}") for broker in topic.brokers.split(",")],
        autodiscover=False,
        datadir=data_dir,
        store="memory://",
        table_standby_replicas=0,  # there are no tables; with 0, partitions are shared out in a way that others know
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=topic.member,
        broker_commit_interval=COMMIT_S,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=SESSION_TIMEOUT_S / 4,
        stream_wait_empty=False,
        stream_buffer_maxsize=4 * BATCH_MESSAGES,
    )


def run(topic: KafkaTopic, forward: Forward, stop: Flag, data_dir: Path) -> None:
    """Forward until SIGTERM, SIGINT or a crash of faust.

    Raises:
        BridgeError: faust gave up; a new process goes on where this one stood.
    """
    logging.getLogger("faust").setLevel(logging.WARNING)
    logging.getLogger("mode").setLevel(logging.WARNING)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of a broker that is away 16 times a second
    try:
        asyncio.run(_run(topic, forward, stop, data_dir))
    except KafkaError as error:
        raise _gave_up(error) from None


async def _run(topic: KafkaTopic, forward: Forward, stop: Flag, data_dir: Path) -> None:
    app = build_app(topic, data_dir)
    pump = _Pump(forward)

    # Faust's own `take` acknowledges what it has handed out even when its taker fails or is cancelled: that would lose
    # it. So nothing is acknowledged but by the pump, behind the log.
    @app.agent(app.topic(topic.name, value_type=bytes), name="forward")
    async def enqueue(stream: StreamT[bytes]) -> None:
        async for event in cast("faust.Stream[bytes]", stream).noack().events():
            await pump.arrived.put(event)

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with app:
        pumping = asyncio.ensure_future(pump.run())
        watching = asyncio.ensure_future(_watch(topic, pump))
        waits = [pumping, asyncio.ensure_future(ended.wait()), asyncio.ensure_future(app.wait_until_stopped())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        watching.cancel()
        pumping.cancel()
        with suppress(asyncio.CancelledError, Stopped):
            await pumping
    if app.crashed:
        raise _gave_up(app.crash_reason)


def _gave_up(reason: BaseException | None) -> BridgeError:
    return BridgeError(f"faust gave up ({reason!r}): started again, it goes on where it stood")


class _Pump:
    """Forwards what has arrived, as much as there is, then acknowledges it to faust."""

    def __init__(self, forward: Forward) -> None:
        self.arrived: asyncio.Queue[EventT[bytes]] = asyncio.Queue(BATCH_MESSAGES)
        self.turns = 0  # odd while it forwards
        self._forward = forward

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            Stopped, LogError: as the forwarder does; nothing of that batch is acknowledged.
        """
        while True:
            events = [await self.arrived.get()]
            while len(events) < BATCH_MESSAGES and not self.arrived.empty():
                events.append(self.arrived.get_nowait())
            self.turns += 1
            await asyncio.to_thread(self._forward, [_message(event) for event in events])
            self.turns += 1
            for event in events:
                event.ack()


async def _watch(topic: KafkaTopic, pump: _Pump) -> None:
    """End the process when nothing has arrived for long though there is more.

    As if killed: what stands still cannot be trusted to stop in order, and nothing is lost by it.
    """
    standstill, turns = Standstill(topic), -1
    while True:
        before, turns = turns, pump.turns
        is_one = await asyncio.to_thread(standstill.is_one)
        if is_one and turns == before and turns % 2 == 0:
            logger.critical("nothing arrives from Kafka though there is more: started again, it goes on")
            os._exit(1)
        await asyncio.sleep(STANDSTILL_S)


def _message(event: EventT[bytes]) -> KafkaMessage:
    message = event.message
    return KafkaMessage(message.partition, message.offset, message.timestamp, message.value or b"")
