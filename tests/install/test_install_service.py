"""The systemd unit, and what the node says to systemd."""

from __future__ import annotations

import os
import re
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
SECURITY = UNIT.parents[1] / "SECURITY.md"
INSTALLED = "/opt/ctiqa-node/bin/ctiqa-node"


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # systemd-analyze wants the program to exist; only its path differs from the unit that ships.
    unit.write_text(UNIT.read_text().replace(INSTALLED, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_exposes_little_and_what_it_does_is_explained() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True, text=True, timeout=60, env={**os.environ, "SYSTEMD_EMOJI": "0"}, check=False,
    )  # fmt: skip
    overall = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert overall, done.stdout + done.stderr
    assert float(overall[1]) < 2.5
    open_points = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("✗")]
    explained = SECURITY.read_text().replace("\\|", "|")  # as a table of Markdown needs it
    missing = [point for point in open_points if f"`{point}`" not in explained]
    assert open_points
    assert missing == []


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
