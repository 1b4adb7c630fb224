"""How much a process has had of the processor."""

from __future__ import annotations

import os
from pathlib import Path

_USER, _SYSTEM = 11, 12
"""Fields of /proc/PID/stat after the name, which may hold anything (proc(5): 14 utime, 15 stime)."""


def processor_seconds(process: int) -> float:
    """User and system time of all threads of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / os.sysconf("SC_CLK_TCK")
