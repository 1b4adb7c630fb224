"""The spool: received instances on disk, each complete and synced before anyone is told that it is there."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from ctiqa_node.errors import RetryLater

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_PIECE = 1 << 20
_SHARDS = [f"{number:02x}" for number in range(256)]


class Spool:
    """A folder of DICOM files under names of our own; nothing of a peer's text ever becomes part of a path.

    `incoming/` holds what is being written, `objects/xx/` what is complete, `unclaimed/` what a crash left without a
    row in the database (its sender was never told Success).
    """

    def __init__(self, root: Path, min_free_bytes: int, *, make: bool = True) -> None:
        """Make the folders that are not there yet; with `make=False` nothing is made: for a look beside a node."""
        self.root = root
        self._min_free = min_free_bytes
        self._incoming = root / "incoming"
        if make:
            self._make()

    def _make(self) -> None:
        for folder in (self.root, self._incoming, self.root / "objects"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for shard in _SHARDS:
            (self.root / "objects" / shard).mkdir(mode=0o700, exist_ok=True)
        for folder in (self.root / "objects", self.root):
            sync_folder(folder)

    def store(self, content: bytes) -> str:
        """Write one file; returns its path relative to the root once it and its folder are on disk.

        Raises:
            RetryLater: no room, or the disk refuses; nothing is left behind.
        """
        token = uuid.uuid4().hex
        temporary = self._incoming / f"{token}.part"
        target = self.root / "objects" / token[:2] / f"{token}.dcm"
        try:
            self.require_room(len(content))
            _write_synced(temporary, content)
            temporary.rename(target)
            sync_folder(target.parent)
        except OSError as error:
            for leftover in (temporary, target):
                with suppress(OSError):
                    leftover.unlink(missing_ok=True)
            raise RetryLater(f"The spool cannot be written: {error.strerror} ({self.root}).") from error
        return str(target.relative_to(self.root))

    def require_room(self, size: int) -> None:
        """Make sure that a file of `size` bytes leaves the configured room.

        Raises:
            RetryLater: it does not.
        """
        free = self.free_bytes()
        if free < self._min_free + size:
            raise RetryLater(
                f"Only {free >> 20} MiB free in the spool; spool.min_free_mib is {self._min_free >> 20} ({self.root})."
            )

    def free_bytes(self) -> int:
        """Free bytes on the spool's filesystem."""
        return shutil.disk_usage(self.root).free

    def path(self, relative: str) -> Path:
        """The absolute path of a stored file."""
        return self.root / relative

    def discard(self, relative: str) -> None:
        """Remove a file that no row claims."""
        self.path(relative).unlink(missing_ok=True)

    def set_aside_unclaimed(self, claimed: Collection[str]) -> int:
        """After a crash: remove half-written files, move those without a row to `unclaimed/`; returns how many."""
        for leftover in self._incoming.iterdir():
            leftover.unlink()
        count = 0
        for relative in self.objects():
            if relative not in claimed:
                aside = self.root / "unclaimed"
                aside.mkdir(mode=0o700, exist_ok=True)
                self.path(relative).rename(aside / Path(relative).name)
                count += 1
        return count

    def objects(self) -> Iterator[str]:
        """The files that are complete, relative to the root; those of one shard are listed at a time."""
        for shard in _SHARDS:
            folder = self.root / "objects" / shard
            for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
                yield str(entry.relative_to(self.root))

    def count_set_aside(self) -> int:
        """How many files a crash left without a row."""
        aside = self.root / "unclaimed"
        return sum(1 for _ in aside.iterdir()) if aside.is_dir() else 0


def make_folder_durably(folder: Path) -> None:
    """Make a folder that is still there after a power cut; it may be there already."""
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def write_durably(path: Path, content: IO[bytes]) -> str:
    """Put a whole file in place, or none: temporary file, fsync, rename, fsync of the folder; returns its SHA-256.

    What is read of `content` is written a piece at a time.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    digest = hashlib.sha256()
    try:
        with os.fdopen(os.open(temporary, _NEW_FILE, 0o600), "wb") as file:
            while piece := content.read(_PIECE):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return digest.hexdigest()


def remove_durably(path: Path) -> None:
    """Remove a file, if it is there, and its folder when nothing else lies in it; it stays away after a power cut.

    Raises:
        OSError: it cannot be removed.
    """
    path.unlink(missing_ok=True)
    with suppress(OSError):  # there are others, or the folder has gone before
        path.parent.rmdir()
    sync_folder(path.parent if path.parent.exists() else path.parent.parent)


def _write_synced(path: Path, content: bytes) -> None:
    # For the owner alone, whatever the umask: it is a patient's.
    descriptor = os.open(path, _NEW_FILE, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        view = memoryview(content)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk: files that came, and files that went."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
