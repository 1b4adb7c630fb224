"""How a node starts: not on a damaged database, and not beside another node; each with a clear sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.state import NodeLock, StateFolder

COMMAND = [sys.executable, "-m", "ctiqa_node.cli"]


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    upgrade(folder.database)
    return folder


def serve(folder: StateFolder) -> subprocess.CompletedProcess[str]:
    config = folder.root.with_name("config.yaml")
    config.write_text(f"node: {{state_dir: {folder.root}, port: 0, address: 127.0.0.1}}\n")
    return subprocess.run([*COMMAND, "--config", str(config), "serve"], capture_output=True, text=True, timeout=60)


def test_a_second_node_on_the_same_folder_refuses_and_touches_nothing(folder: StateFolder) -> None:
    before = folder.database.read_bytes()
    with NodeLock(folder):
        ran = serve(folder)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith(f"Another node is running on {folder.root}; stop it")
    assert folder.database.read_bytes() == before


def test_a_damaged_database_is_refused_with_one_sentence(folder: StateFolder) -> None:
    content = bytearray(folder.database.read_bytes())
    content[len(content) // 2 :] = b"\xa5" * (len(content) - len(content) // 2)
    folder.database.write_bytes(content)
    ran = serve(folder)
    assert ran.returncode == 2
    assert "is damaged and cannot be used" in ran.stderr.splitlines()[-1]
    assert "there is no backup" in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr
    assert folder.database.read_bytes() == content
