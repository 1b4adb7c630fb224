"""The command as a process of its own: what it imports, and how `serve` starts and stops."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctiqa_node.state import StateFolder
from support.sockets import listening

HEAVY = {"torch", "highdicom", "matplotlib", "ctiqa_models", "apscheduler", "pynetdicom", "cv2", "scipy"}
ONLY_FOR_DICOM = {"pydicom", "numpy", "alembic", "structlog"}
"""What takes most of a start, beside the database: `status` is asked every second where people watch it."""
COMMAND = [sys.executable, "-m", "ctiqa_node.cli"]

_IMPORTS = """
import json, sys
from ctiqa_node.cli import main
try:
    main()
finally:
    print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "args",
    [
        ["--help"], ["version"], ["status"], ["results"], ["results", "ACC-1", "--slices"], ["why", "ACC-1"],
        ["queue", "ls"], ["queue", "retry", "J2"], ["reconcile"], ["config", "check"],
        ["db", "upgrade"], ["assess", "--help"],
    ],
)  # fmt: skip
def test_a_light_command_imports_nothing_heavy(args: list[str], config_file: Path, state: StateFolder) -> None:
    command = [sys.executable, "-c", _IMPORTS, "--config", str(config_file), *args]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.stdout, ran.stderr
    imported = set(json.loads(ran.stderr.splitlines()[-1]))
    assert "typer" in imported
    # Which models there are, their catalog says, which is light by itself.
    assert imported & HEAVY == ({"ctiqa_models"} if args == ["config", "check"] else set())


@pytest.mark.parametrize("args", [["status"], ["results"], ["queue", "ls"], ["why", "ACC-1"]])
def test_a_command_that_only_shows_imports_no_dicom(args: list[str], state: StateFolder, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _IMPORTS, *args]
    environment = dict(os.environ) | {"CTIQA_NODE__STATE_DIR": str(state.root), "CTIQA_PEERS": "any"}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path)
    assert ran.stdout, ran.stderr
    imported = set(json.loads(ran.stderr.splitlines()[-1]))
    assert "sqlalchemy" in imported
    assert not imported & (HEAVY | ONLY_FOR_DICOM)


@pytest.fixture
def quiet_config(tmp_path: Path) -> Path:
    """A configuration without destinations and with the quickest model; the port is free to choose."""
    path = tmp_path / "quiet.yaml"
    path.write_text(
        f"node: {{state_dir: {tmp_path / 'configured'}, port: 0, address: 127.0.0.1}}\n"
        "peers: any\nspool: {min_free_mib: 0}\n"
        "worker: {assessors: [snr], device: cpu, threads: 1, golden_check: false}\n"
    )
    return path


@pytest.fixture
def serving(quiet_config: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A node started with every option over file and environment, and the command line that asks about it."""
    environment = os.environ | {"CTIQA_NODE__STATE_DIR": str(tmp_path / "from-environment")}
    options = ["--state-dir", str(tmp_path / "given"), "--ae-title", "GIVEN", "--address", "127.0.0.2", "--port", "0"]
    node = subprocess.Popen(
        [*COMMAND, "--config", str(quiet_config), "serve", *options], env=environment, stderr=subprocess.PIPE, text=True
    )
    asking = tmp_path / "asking.yaml"
    asking.write_text(f"node: {{state_dir: {tmp_path / 'given'}}}\npeers: any\nspool: {{min_free_mib: 0}}\n")
    yield node, [*COMMAND, "--config", str(asking)]
    node.kill()
    node.communicate()


@pytest.mark.slow
def test_serve_takes_its_options_listens_on_its_port_alone_answers_and_stops_on_sigterm(
    serving: tuple[subprocess.Popen[str], list[str]], tmp_path: Path
) -> None:
    node, asking = serving
    found = _status_when(asking, fine=True)
    assert (found["ae_title"], found["address"]) == ("GIVEN", "127.0.0.2")
    assert found["port"] > 0
    # The worker lives in the same state folder only if the options reached it, too.
    assert found["worker"]["alive"]
    assert not (tmp_path / "from-environment").exists()
    assert not (tmp_path / "configured").exists()
    # Nothing to manage over the network, and no other way in: the DICOM port is all that node and worker listen on.
    assert listening(node.pid) == {f"tcp 127.0.0.2:{found['port']}"}
    echoed = subprocess.run([*asking, "echo"], capture_output=True, text=True, timeout=60)
    assert echoed.returncode == 0, echoed.stderr
    assert f"GIVEN@127.0.0.2:{found['port']} answers." in echoed.stdout
    node.send_signal(signal.SIGTERM)
    assert node.wait(timeout=30) == 0
    assert subprocess.run([*asking, "status"], capture_output=True, timeout=60).returncode == 2


def _status_when(asking: list[str], *, fine: bool) -> Any:
    deadline = time.monotonic() + 60
    while True:
        ran = subprocess.run([*asking, "status", "--json"], capture_output=True, text=True, timeout=60)
        if (ran.returncode == 0) is fine:
            return json.loads(ran.stdout)
        assert time.monotonic() < deadline, ran.stdout + ran.stderr
        time.sleep(0.5)


def test_a_port_in_use_is_one_clear_sentence_and_exit_code_2(quiet_config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [*COMMAND, "--config", str(quiet_config), "serve", "--port", str(port)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert ran.stdout == ""
    sentence = ran.stderr.splitlines()[-1]
    assert f"127.0.0.1:{port}" in sentence
    assert "in use" in sentence
    assert "Traceback" not in ran.stderr


def test_a_wrong_option_of_serve_is_refused_like_the_setting(quiet_config: Path) -> None:
    command = [*COMMAND, "--config", str(quiet_config), "serve", "--ae-title", "A_TITLE_THAT_IS_TOO_LONG"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert "node.ae_title" in ran.stderr
    assert "1 to 16" in ran.stderr
