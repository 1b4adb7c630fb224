"""The shim (shim.c): compiled here, loaded into a node, and its recording read back."""

from __future__ import annotations

import errno
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("shim.c")
_HEADER = struct.Struct("<4I2q")


class Kind(IntEnum):
    """What was done; as in shim.c."""

    CREATE = 1
    WRITE = 2
    TRUNCATE = 3
    SYNC = 4
    RENAME = 5
    UNLINK = 6
    MKDIR = 7
    RMDIR = 8
    SEND = 9


@dataclass(frozen=True, slots=True)
class Deed:
    """One change or sync of a file or folder, or something that was sent to a peer."""

    kind: Kind
    path: str
    """Of the file or folder, where it is made, synced, moved or removed by its name."""
    target: str
    """Where RENAME moves it."""
    data: bytes
    inode: int
    offset: int
    """Of WRITE, and the new length of TRUNCATE."""


def build_shim(folder: Path) -> Path:
    """Compile it; skips the test where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler for the shim that records what is synced")
    library = folder / "shim.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return library


def recording(library: Path, root: Path, log: Path) -> Mapping[str, str]:
    """The variables with which a process and its children record what they do below `root`."""
    return {"LD_PRELOAD": str(library), "SOAK_ROOT": str(root), "SOAK_LOG": str(log)}


class BadDisk:
    """Makes changes below a folder fail, for as long as one wants."""

    def __init__(self, library: Path, root: Path, switch: Path) -> None:
        self._switch = switch
        self.variables = {"LD_PRELOAD": str(library), "SOAK_ROOT": str(root), "SOAK_FAULT": str(switch)}

    @contextmanager
    def failing(self, name: str, where: str = "") -> Iterator[None]:
        """While this lasts, changes of paths with `where` in them fail with the error of this name (ENOSPC, EROFS)."""
        whole = self._switch.with_suffix(".new")
        whole.write_text(f"{getattr(errno, name)} {where}")
        whole.rename(self._switch)
        try:
            yield
        finally:
            self._switch.unlink()


class WorkerKiller:
    """Kills a worker between two changes that it makes to its files, whatever step of its work they belong to."""

    def __init__(self, library: Path, root: Path, switch: Path) -> None:
        self._switch = switch
        self.variables = {"LD_PRELOAD": str(library), "SOAK_ROOT": str(root), "SOAK_KILLER": str(switch)}

    def arm(self, changes: int) -> None:
        """Let it die after so many changes more."""
        whole = self._switch.with_suffix(".new")
        whole.write_text(str(changes))
        whole.rename(self._switch)

    def has_struck(self) -> bool:
        """Whether it died."""
        return not self._switch.exists()


def read_log(path: Path) -> Iterator[Deed]:
    """What was recorded, in its order; half a record at the end is none."""
    content = memoryview(path.read_bytes())
    place = 0
    while place + _HEADER.size <= len(content):
        kind, first, second, size, inode, offset = _HEADER.unpack_from(content, place)
        place += _HEADER.size
        ends = [place + first, place + first + second, place + first + second + size]
        if ends[-1] > len(content):
            return
        names = bytes(content[place : ends[0]]).decode(), bytes(content[ends[0] : ends[1]]).decode()
        yield Deed(Kind(kind), *names, bytes(content[ends[1] : ends[2]]), inode, offset)
        place = ends[-1]
