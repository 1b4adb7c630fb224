"""Receivers of C-STORE, each in a process of its own: our node, a bare pynetdicom handler, storescp, Orthanc."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from archives import Orthanc, free_port
from sqlalchemy import func, select

from ctiqa_node.config import NodeSection
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Instance
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.state import StateFolder
from support.running_node import RunningNode

HERE = Path(__file__).resolve().parent
START_SECONDS = 30.0


class Receiver(Protocol):
    """Something that takes instances."""

    @property
    def peer(self) -> ApplicationEntity:
        """As one calls it."""
        ...

    def kept(self) -> int:
        """How many instances it has."""
        ...


@dataclass(frozen=True, slots=True)
class OurNode:
    """`ctiqa-node serve`, with its database to look into."""

    node: RunningNode
    database: Database

    @property
    def peer(self) -> ApplicationEntity:
        """As one calls it."""
        return self.node.peer

    @property
    def process(self) -> int:
        """The receiver's process ID."""
        assert self.node.process is not None
        return self.node.process.pid

    def kept(self) -> int:
        """How many instances it has."""
        with self.database.read() as session:
            return session.scalars(select(func.count(Instance.id))).one()


@dataclass(frozen=True, slots=True)
class FilesOf:
    """A receiver that keeps a file an instance."""

    peer: ApplicationEntity
    folder: Path

    def kept(self) -> int:
        """How many instances it has."""
        return sum(1 for _ in self.folder.iterdir())


@dataclass(frozen=True, slots=True)
class OrthancServer:
    """Orthanc, as Debian configures it."""

    archive: Orthanc

    @property
    def peer(self) -> ApplicationEntity:
        """As one calls it."""
        return self.archive.peer

    def kept(self) -> int:
        """How many instances it has."""
        return int(self.archive.ask("/statistics")["CountInstances"])


@contextmanager
def our_node(
    folder: Path, archives: Sequence[tuple[str, ApplicationEntity]] = (), **settings: object
) -> Iterator[OurNode]:
    """Our node, with settings as its configuration file has them."""
    with RunningNode(folder, archives, **settings) as node:
        database = Database(StateFolder(node.state).database)
        try:
            yield OurNode(node, database)
        finally:
            database.close()


@contextmanager
def bare_handler(folder: Path) -> Iterator[FilesOf]:
    """pynetdicom with a handler that writes and syncs the file; the longest PDU it asks for is that of our node."""
    folder.mkdir(parents=True)
    longest = NodeSection.model_fields["max_pdu_bytes"].default
    command = [sys.executable, str(HERE / "bare_scp.py"), str(folder), str(longest)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield FilesOf(ApplicationEntity("BARE", "127.0.0.1", int(process.stdout.readline())), folder)
        finally:
            process.stdin.close()


@contextmanager
def storescp(folder: Path) -> Iterator[FilesOf]:
    """dcmtk's storescp, with a process for each association, and the longest PDU that it can ask for."""
    folder.mkdir(parents=True)
    peer = ApplicationEntity("STORESCP", "127.0.0.1", free_port())
    program = shutil.which("storescp")
    if program is None:
        raise FileNotFoundError("storescp is not installed")
    options = ["--fork", "--max-pdu", "131072", "-aet", peer.ae_title, "-od", str(folder)]
    with subprocess.Popen([program, *options, str(peer.port)]) as process:
        try:
            _wait_for(peer.port)
            yield FilesOf(peer, folder)
        finally:
            process.terminate()


@contextmanager
def orthanc(folder: Path) -> Iterator[OrthancServer]:
    """Orthanc on a free port."""
    with Orthanc(folder) as archive:
        yield OrthancServer(archive)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")
