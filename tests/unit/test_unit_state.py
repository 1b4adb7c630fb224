"""The state folder and its lock: one node, and errors that say what to do."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ctiqa_node.errors import ConfigError, CtiqaError, Rejected, RetryLater, StateError
from ctiqa_node.ingest import MismatchedDataset
from ctiqa_node.jobs.embedded import LostJob
from ctiqa_node.series import UnknownTransition
from ctiqa_node.state import NodeLock, StateFolder


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    return folder


def test_the_lock_keeps_a_second_node_out_and_goes_with_the_first(folder: StateFolder) -> None:
    assert not folder.is_locked()
    with NodeLock(folder):
        assert folder.is_locked()
        with pytest.raises(StateError, match=r"Another node is running on .*state; stop it, or set node.state_dir"):
            NodeLock(folder).__enter__()
    assert not folder.is_locked()
    with NodeLock(folder):
        pass


def test_the_lock_goes_with_a_killed_process(folder: StateFolder) -> None:
    script = (
        "import sys, time; from pathlib import Path; from ctiqa_node.state import NodeLock, StateFolder\n"
        "with NodeLock(StateFolder(Path(sys.argv[1]))): print('locked', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(folder.root)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert folder.is_locked()
        process.kill()
    assert not folder.is_locked()


def test_whoever_only_asks_for_a_moment_does_not_keep_a_node_out(folder: StateFolder) -> None:
    folder.lock.touch()
    asking = threading.Event()

    def ask() -> None:
        with folder.lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            asking.set()
            time.sleep(0.1)

    thread = threading.Thread(target=ask)
    thread.start()
    asking.wait(5)
    with NodeLock(folder):
        pass
    thread.join(5)


def test_a_state_folder_that_cannot_be_made_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"cannot be made: Not a directory\. Set node.state_dir"):
        StateFolder(tmp_path / "file" / "state").create()


def test_a_lock_that_cannot_be_opened_is_a_state_error(folder: StateFolder) -> None:
    folder.lock.mkdir()
    with pytest.raises(StateError, match=r"The lock .* cannot be opened: Is a directory"):
        NodeLock(folder).__enter__()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Rejected, CtiqaError), (RetryLater, CtiqaError), (ConfigError, CtiqaError), (StateError, CtiqaError),
        (MismatchedDataset, Rejected), (LostJob, CtiqaError), (UnknownTransition, CtiqaError),
    ],
)  # fmt: skip
def test_every_error_of_ours_is_a_ctiqa_error_and_says_its_sentence(
    error: type[CtiqaError], kind: type[CtiqaError]
) -> None:
    assert issubclass(error, kind)
    assert str(error("What happened.")) == "What happened."


def test_what_can_be_tried_again_is_not_taken_for_what_cannot() -> None:
    assert not issubclass(RetryLater, Rejected)
    assert not issubclass(Rejected, RetryLater)
