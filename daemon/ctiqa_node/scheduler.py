"""What recurs: quiet series, the watch over the worker, signs of life. APScheduler runs it in threads of the node."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import OperationalError

from ctiqa_node.logs import get_logger

log = get_logger(__name__)

GUARD_SECONDS = 1.0
STEP_SECONDS = 1.0
"""The wall clock was set when it differs by so much from the monotonic one's time since the last look."""


class Scheduler:
    """Calls functions at intervals; one call of each at a time, and none is made up for.

    APScheduler goes by the wall clock: when that is set back by a day, it would call nothing for a day, and no series
    would fall quiet. So a thread watches the clock, and makes everything due when it was set. `wall` is in seconds.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._scheduler = BackgroundScheduler(
            # As many as there is work of different kinds: a long reading of the books must not hold up a sign of life.
            executors={"default": ThreadPoolExecutor(16)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        self._wall = wall
        self._stopping = threading.Event()
        self._guard = threading.Thread(target=self._watch_the_clock, name="clock-guard", daemon=True)

    def every(self, seconds: float, name: str, action: Callable[[], object]) -> None:
        """Call `action` every so many seconds; what goes wrong is logged, and tried again next time."""
        self._scheduler.add_job(_guarded(name, action), "interval", seconds=seconds, id=name)

    def start(self) -> None:
        """Begin to call."""
        self._scheduler.start()
        self._guard.start()

    def stop(self) -> None:
        """Wait for what is being called, then end."""
        self._stopping.set()
        if self._scheduler.running:
            self._guard.join()
            self._scheduler.shutdown(wait=True)

    def _watch_the_clock(self) -> None:
        ahead = self._wall() - time.monotonic()
        while not self._stopping.wait(GUARD_SECONDS):
            before, ahead = ahead, self._wall() - time.monotonic()
            if abs(ahead - before) >= STEP_SECONDS:
                for job in self._scheduler.get_jobs():
                    job.modify(next_run_time=datetime.now(UTC))


def _guarded(name: str, action: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            action()
        except OperationalError as error:  # a database that is busy or full
            log.error("recurring work failed", work=name, error=str(error.orig))
        except Exception:  # the top of a loop: this work is called again, and shall not be forgotten for one fault
            log.exception("recurring work failed", work=name)

    return run


def notify_systemd(message: str) -> None:
    """Tell systemd (sd_notify(3)): `READY=1`, `WATCHDOG=1`, `STOPPING=1`. Does nothing where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall(message.encode())
