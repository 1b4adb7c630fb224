"""Memory of processes, as the kernel tells it."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType


def resident_mib(pid: int) -> float:
    """Memory that a process has now; 0 when it has gone."""
    return _status_mib(pid, "VmRSS")


def highest_mib(pid: int) -> float:
    """The most memory that a process has had."""
    return _status_mib(pid, "VmHWM")


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(each) for each in (task / "children").read_text().split()]
    return found


def _status_mib(pid: int, field: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), 0.0)


class Watch:
    """Follows a node and its worker; `node` and `worker` are the most memory that each had, in MiB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self.node = self.worker = 0.0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(10)

    def _follow(self) -> None:
        while not self._ended.wait(0.1):
            self.node = max(self.node, resident_mib(self._pid))
            try:
                pids = children(self._pid)
            except FileNotFoundError:  # it has ended
                return
            self.worker = max(self.worker, *(highest_mib(pid) for pid in pids), 0.0)
