"""The state folder: where its parts lie, and the lock that keeps a second node out."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ctiqa_node.errors import StateError

PATIENCE_SECONDS = 0.5
"""`StateFolder.is_locked` holds the lock for a moment, which is no other node."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The paths below `node.state_dir`."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "ctiqa.sqlite"

    @property
    def spool(self) -> Path:
        """Received instances."""
        return self.root / "spool"

    @property
    def outputs(self) -> Path:
        """Objects that the node made."""
        return self.root / "outputs"

    @property
    def models(self) -> Path:
        """Weights that the site imported."""
        return self.root / "models"

    @property
    def backups(self) -> Path:
        """Copies of the database."""
        return self.root / "backups"

    @property
    def suspicion(self) -> Path:
        """Is there when damage was found in the database; it holds nothing."""
        return self.root / "database-damaged"

    @property
    def lock(self) -> Path:
        """Held by the running node."""
        return self.root / "node.lock"

    def create(self) -> None:
        """Make the folders, so that a power cut leaves them; only their owner may look in.

        Raises:
            StateError: they cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self.root.stat().st_mode & 0o077:  # somebody else made it, for all to look into
                self.root.chmod(0o700)
            for folder in (self.spool, self.outputs, self.models):
                folder.mkdir(exist_ok=True, mode=0o700)
            sync_folder(self.root)
        except OSError as error:
            raise StateError(
                f"The state folder {self.root} cannot be made: {error.strerror}. Set node.state_dir to one that can."
            ) from error
        for folder in self.root.parents:
            with suppress(OSError):  # those above may not be ours to open, and then somebody else made them
                sync_folder(folder)

    def is_locked(self) -> bool:
        """Whether a node is running on this folder."""
        if not self.lock.exists():
            return False
        with self.lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk: files that came, and files that went."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class NodeLock:
    """An exclusive lock on the state folder, gone with the process however it ends."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def __enter__(self) -> NodeLock:
        try:
            descriptor = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"The lock {self._folder.lock} cannot be opened: {error.strerror}.") from error
        if not _lock_within(descriptor, PATIENCE_SECONDS):
            os.close(descriptor)
            raise StateError(f"Another node is running on {self._folder.root}; stop it, or set node.state_dir.")
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock_within(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True
