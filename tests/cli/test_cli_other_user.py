"""The state folder is its owner's: whoever else runs a command on it gets a sentence, and learns nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.state import StateFolder

COMMANDS = (
    ("status",), ("results",), ("why", "ACC-1"), ("queue", "ls"), ("queue", "retry", "--all-failed"), ("reconcile",),
    ("audit",), ("purge", "--patient", "P1", "--yes"), ("model", "ls"), ("db", "backup"), ("serve",),
)  # fmt: skip

# All is imported before it becomes nobody, to whom the interpreter's own folders may be closed.
_AS_NOBODY = """
import importlib, json, os, pkgutil, sys
import ctiqa_node
from ctiqa_node.cli.app import app
for found in pkgutil.walk_packages(ctiqa_node.__path__, "ctiqa_node."):
    if not found.name.endswith("__main__") and ".migrations" not in found.name:
        importlib.import_module(found.name)
from typer.testing import CliRunner
runner, config = CliRunner(), sys.argv[1]
runner.invoke(app, ["--help"])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
ran = [runner.invoke(app, ["--config", config, *words]) for words in json.loads(sys.argv[2])]
print(json.dumps([[each.exit_code, each.stdout, each.stderr, repr(each.exception)] for each in ran]))
"""


@pytest.fixture
def config() -> Iterator[Path]:
    """A configuration that anybody may read, of a state folder that its owner alone may."""
    with tempfile.TemporaryDirectory(prefix="ctiqa-other-user-") as name:  # pytest's own folders are closed to others
        root = Path(name)
        root.chmod(0o755)
        folder = StateFolder(root / "state")
        folder.create()
        upgrade(folder.database)
        path = root / "config.yaml"
        path.write_text(f"node: {{state_dir: {folder.root}, port: 0}}\npeers: any\nspool: {{min_free_mib: 0}}\n")
        path.chmod(0o644)
        yield path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused_by_every_command_with_a_sentence(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(config), json.dumps(COMMANDS)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for words, (code, said, complaint, exception) in zip(COMMANDS, json.loads(done.stdout), strict=True):
        told = f"{' '.join(words)}: {code} {said}{complaint} {exception}"
        assert code != 0, told
        assert str(config.parent / "state") in said + complaint, told
        assert "Traceback" not in complaint, told
        assert exception.startswith("SystemExit"), told
