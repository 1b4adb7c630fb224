"""The systemd unit, and what the node says to systemd."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from support.running_node import RunningNode
from support.waiting import eventually

UNIT = Path(__file__).resolve().parents[2] / "systemd" / "ctiqa-node.service"
INSTALLED = "/opt/ctiqa-node/bin/ctiqa-node"


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # systemd-analyze wants the program to exist; only its path differs from the unit that ships.
    unit.write_text(UNIT.read_text().replace(INSTALLED, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_node_tells_systemd_that_it_is_ready_alive_and_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: set[str] = set()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(0.1)

        def hears(message: str) -> bool:
            with suppress(TimeoutError):
                heard.add(listening.recv(4096).decode())
            return message in heard

        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with RunningNode(tmp_path / "node") as node:
            eventually(lambda: hears("READY=1"), 20)
            eventually(lambda: hears("WATCHDOG=1"), 20)
            assert node.stop() == 0
        eventually(lambda: hears("STOPPING=1"), 5)
