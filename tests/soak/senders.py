"""Senders as hospitals have them: dcmtk's storescu, started again for what was not answered with Success."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ctiqa_node.dicom import ApplicationEntity

PAUSE_SECONDS = 0.3
_SENDING, _STORED = "I: Sending file: ", "I: Received Store Response (Success)"


def storescu(peer: ApplicationEntity, paths: Sequence[Path], calling: str = "SCANNER") -> Iterator[Path]:
    """Send files over one association; yields each as soon as its answer was Success, and ends at any other answer."""
    command = [
        "storescu", "-v", "-aet", calling, "-aec", peer.ae_title, "-to", "5", "-ts", "20", "-td", "60",
        peer.host, str(peer.port), *map(str, paths),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        sending: Path | None = None
        for line in process.stdout:
            if line.startswith(_SENDING):
                sending = Path(line.removeprefix(_SENDING).rstrip("\n"))
            elif line.startswith(_STORED):
                assert sending is not None
                yield sending
                sending = None


class Modality:
    """Sends the series that it is given, in a thread, until each instance was answered with Success."""

    def __init__(self, name: str, peer: ApplicationEntity) -> None:
        self._name = name
        self._peer = peer
        self._todo: list[Path] = []
        self._lock = threading.Lock()
        self._given_up = threading.Event()
        self.stored: list[Path] = []
        """Answered with Success, in the order of the answers."""
        self.refused_associations = 0
        self.tries = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def give(self, paths: Sequence[Path]) -> None:
        """Another series to send."""
        with self._lock:
            self._todo.extend(paths)

    @property
    def idle(self) -> bool:
        """Whether all was answered with Success."""
        return not self._todo

    def _run(self) -> None:
        chance = random.Random(self._name)
        while not self._given_up.is_set():
            with self._lock:
                paths = self._todo[:40]
            if paths:
                self.tries += 1
                for path in storescu(self._peer, paths, self._name):
                    self.stored.append(path)
                    with self._lock:
                        self._todo.remove(path)
            time.sleep(PAUSE_SECONDS * chance.uniform(0.5, 1.5))

    def stop(self) -> None:
        """Send no more."""
        self._given_up.set()
        self._thread.join(90)
        assert not self._thread.is_alive()
