"""What recurs: quiet series, the watch over the worker, signs of life; a thread of the node for each.

Intervals are those of the monotonic clock. A scheduler by the wall clock (APScheduler's) calls nothing for a day when
that is set back by a day: no series would fall quiet, and no sign of life would be given.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import OperationalError

from ctiqa_node.logs import get_logger

log = get_logger(__name__)


class Scheduler:
    """Calls functions at intervals; one call of each at a time, and none is made up for."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def every(self, seconds: float, name: str, action: Callable[[], object]) -> None:
        """Call `action` every so many seconds, from `start` on; what goes wrong is logged, and tried again next time.

        Each has a thread of its own: a long reading of the books must not hold up a sign of life.
        """
        self._threads.append(
            threading.Thread(target=self._repeat, args=(seconds, name, action), name=f"every-{name}", daemon=True)
        )

    def start(self) -> None:
        """Begin to call."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait for what is being called, then end."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _repeat(self, seconds: float, name: str, action: Callable[[], object]) -> None:
        due = time.monotonic() + seconds
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            try:
                action()
            except OperationalError as error:  # a database that is busy or full
                log.error("recurring work failed", work=name, error=str(error.orig))
            except Exception:  # the top of the loop: nothing else would ever do this work again
                log.exception("recurring work failed", work=name)
            due = max(due + seconds, time.monotonic())


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
