"""What processes listen on, as the kernel tells it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection
from pathlib import Path

from support.memory import children

TCP_LISTEN = "0A"
ACCEPTS = 1 << 16
"""Of a Unix socket's flags (__SO_ACCEPTCON)."""


def listening(pid: int) -> set[str]:
    """Every socket that a process or its children can be reached by: `tcp ADDRESS:PORT`, `udp …` or `unix …`."""
    inodes = set().union(*(_inodes(each) for each in (pid, *children(pid))))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for fields in _rows(table):
            waits = fields[3] == TCP_LISTEN or table.startswith("udp")
            if fields[9] in inodes and waits:
                found.add(f"{table} {_address(fields[1])}")
    for fields in _rows("unix"):
        if fields[6] in inodes and int(fields[3], 16) & ACCEPTS:
            found.add(f"unix {fields[7] if len(fields) > 7 else 'without a name'}")
    return found


def _inodes(pid: int) -> Collection[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def _rows(table: str) -> list[list[str]]:
    path = Path(f"/proc/net/{table}")
    return [line.split() for line in path.read_text().splitlines()[1:]] if path.exists() else []


def _address(field: str) -> str:
    address, port = field.split(":")
    words = b"".join(struct.pack("=L", int(address[at : at + 8], 16)) for at in range(0, len(address), 8))
    family = socket.AF_INET if len(words) == 4 else socket.AF_INET6
    return f"{socket.inet_ntop(family, words)}:{int(port, 16)}"
