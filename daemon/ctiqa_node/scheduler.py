"""What recurs: quiet series, the watch over the worker, signs of life. APScheduler runs it in threads of the node."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import OperationalError

from ctiqa_node.logs import get_logger

log = get_logger(__name__)


class Scheduler:
    """Calls functions at intervals; one call of each at a time, and none is made up for."""

    def __init__(self) -> None:
        self._scheduler = BackgroundScheduler(
            # As many as there is work of different kinds: a long reading of the books must not hold up a sign of life.
            executors={"default": ThreadPoolExecutor(8)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )

    def every(self, seconds: float, name: str, action: Callable[[], object]) -> None:
        """Call `action` every so many seconds; a database that is busy or full is logged, and tried again next time."""
        self._scheduler.add_job(_guarded(name, action), "interval", seconds=seconds, id=name)

    def start(self) -> None:
        """Begin to call."""
        self._scheduler.start()

    def stop(self) -> None:
        """Wait for what is being called, then end."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _guarded(name: str, action: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            action()
        except OperationalError as error:
            log.error("recurring work failed", work=name, error=str(error.orig))

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
