"""A node in a process of its own, started and asked through its command line as an admin would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence, Set
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from ctiqa_node.config import load_config
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.health import node_status
from support.waiting import eventually

_COMMAND = [sys.executable, "-c", "from ctiqa_node.cli import main; main()"]
START_SECONDS = 180.0

FOUR_MODELS = {"assessors": ["n2q", "noise_level", "snr", "brisque"]}
"""`worker` for tests of the way of a series: quicker than all models, and slow enough to be caught at work."""


def environment() -> dict[str, str]:
    """Ours, without settings that would win over the test's own, and with as many threads as a shared machine bears."""
    return {key: value for key, value in os.environ.items() if not key.startswith("CTIQA_")}


class RunningNode:
    """`ctiqa-node serve` on a free port. Its log is `node.log` in the folder that the caller gives."""

    def __init__(self, folder: Path, archives: Sequence[tuple[str, ApplicationEntity]] = (), **settings: Any) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "config.yaml"
        self.state = folder / "state"
        self._settings: dict[str, Any] = {
            "node": {"address": "127.0.0.1", "port": 0, "state_dir": str(self.state), **settings.pop("node", {})},
            "peers": "any",
            "series": {"quiet_seconds": 2, **settings.pop("series", {})},
            "spool": {"min_free_mib": 16, **settings.pop("spool", {})},
            "delivery": {"first_retry_seconds": 0.5, "max_retry_seconds": 2, **settings.pop("delivery", {})},
            "destinations": [
                {"name": name, "ae_title": peer.ae_title, "host": peer.host, "port": peer.port}
                for name, peer in archives
            ],
            "worker": {"golden_check": False, **settings.pop("worker", {})},
            **settings,
        }
        self.config.write_text(yaml.safe_dump(self._settings))
        self.process: subprocess.Popen[bytes] | None = None
        self.variables: dict[str, str] = {}
        """Of its environment, over those of the tests."""
        self._ready_before = 0

    def __enter__(self) -> RunningNode:
        self.start()
        return self

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it, and do not wait."""
        with (self._folder / "node.log").open("ab") as log:
            self._ready_before = len(self._said_ready())
            self.process = subprocess.Popen(
                [*_COMMAND, "--config", str(self.config), "serve"], stderr=log, env={**environment(), **self.variables}
            )

    def wait_until_ready(self) -> None:
        """Wait until it listens."""
        eventually(self._listens, START_SECONDS)

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the node ended at once: {self.log()[-2000:]}"
        return self.is_ready()

    def is_ready(self) -> bool:
        """Whether it has said that it listens since it was last started."""
        return len(self._said_ready()) > self._ready_before

    def _said_ready(self) -> list[dict[str, Any]]:
        lines = self.log().splitlines(keepends=True)
        return [json.loads(line) for line in lines if '"event": "node ready"' in line and line.endswith("\n")]

    @property
    def port(self) -> int:
        """The port that it found."""
        return int(self._said_ready()[-1]["port"])

    @property
    def peer(self) -> ApplicationEntity:
        """The node as one calls it."""
        return ApplicationEntity("CTIQA", "127.0.0.1", self.port)

    def log(self) -> str:
        """What the node and its workers have logged."""
        return (self._folder / "node.log").read_text()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ctiqa-node with the node's configuration."""
        return subprocess.run(
            [*_COMMAND, "--config", str(self.config), *words],
            capture_output=True, text=True, timeout=300, env=environment(), check=False,
        )  # fmt: skip

    def ask(self, *words: str) -> Any:
        """What a command answers with --json."""
        done = self.run(*words, "--json")
        return json.loads(done.stdout or "null")

    def status(self) -> dict[str, Any]:
        """What `status --json` answers, without a process for each look: the node needs the processor."""
        return node_status(load_config(self.config)).model_dump(mode="json")

    def wait_for_end(
        self,
        count: int,
        seconds: float = 120,
        ended: Set[str] = frozenset({"delivered", "undelivered", "skipped", "failed"}),
    ) -> list[dict[str, Any]]:
        """The results, once at least so many series are there and all have come to an end."""

        def all_ended() -> bool:
            time.sleep(0.1)
            counts = self.status()["series"]
            return sum(counts.values()) >= count and set(counts) <= ended

        eventually(all_ended, seconds)
        results: list[dict[str, Any]] = self.ask("results", "--limit", "1000")
        return results

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self, seconds: float = 90) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
                raise
