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
from ctiqa_node.logs import get_logger
from ctiqa_node.state import sync_folder

log = get_logger(__name__)
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
        self._doomed: set[Path] = set()
        """Files that nobody claims, and that a bad disk did not let us remove."""
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
        self.tidy()
        try:
            self.require_room(len(content))
            _write_synced(temporary, content)
            temporary.rename(target)
            sync_folder(target.parent)
        except OSError as error:
            self._remove(temporary)
            self._remove(target)
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
        """Remove a file that no row claims; as soon as the disk lets us."""
        self._remove(self.path(relative))

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            self._doomed.add(path)
        else:
            self._doomed.discard(path)

    def tidy(self) -> None:
        """Remove what a bad disk did not let us remove when it was to go."""
        for path in tuple(self._doomed):
            self._remove(path)

    def set_aside_unclaimed(self, claimed: Collection[str]) -> int:
        """After a crash: remove half-written files, move those without a row to `unclaimed/`; returns how many."""
        for leftover in self._incoming.iterdir():
            leftover.unlink()
        aside = self.root / "unclaimed"
        count = 0
        for relative in self.objects():
            if relative not in claimed:
                if not count:
                    make_folder_durably(aside)
                self.path(relative).rename(aside / Path(relative).name)
                count += 1
        if count:
            sync_folder(aside)  # before any of the folders that they came from: after a restore they are promised
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


class Watermark:
    """Whether there is so little room that nobody may begin to send; once so, until there is an eighth more again.

    Whoever sends already goes on, as long as `Spool.require_room` lets instances in. Thread-safe.
    """

    def __init__(self, spool: Spool, below_mib: int) -> None:
        self._spool = spool
        self._below = below_mib << 20
        self._reached = False
        self.sentence = f"too little room in the spool (spool.refuse_associations_below_mib is {below_mib})"

    def congestion(self) -> str | None:
        """Why nobody may begin to send now, or None."""
        try:
            free = self._spool.free_bytes()
        except OSError as error:
            return f"the spool cannot be looked at: {error.strerror}"
        before, self._reached = self._reached, free < (self._below * 9 // 8 if self._reached else self._below)
        if self._reached and not before:
            log.error("new associations are rejected", free_mib=free >> 20, below_mib=self._below >> 20)
        elif before and not self._reached:
            log.info("new associations are taken again", free_mib=free >> 20)
        return self.sentence if self._reached else None


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
