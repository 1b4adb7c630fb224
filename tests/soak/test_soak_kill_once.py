"""SIGKILL at the worst moments: whatever was answered with Success is there, assessed once, and once in the archive."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from pathlib import Path

import pytest
from archives import Orthanc, free_port
from pydicom import dcmread
from sqlalchemy import select

from ctiqa_node.db.session import Database
from ctiqa_node.db.states import InstanceState
from ctiqa_node.db.tables import AssessmentRow, Instance
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.storage_scu import send
from support.running_node import FOUR_MODELS, RunningNode
from support.series import MakeSeries
from support.waiting import eventually

pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(600)]


class Sender:
    """Sends files in a thread, and remembers which were answered with Success."""

    def __init__(self, peer: ApplicationEntity) -> None:
        self._peer = peer
        self.stored: set[Path] = set()
        self._thread: threading.Thread | None = None

    def start(self, paths: list[Path]) -> None:
        self._thread = threading.Thread(target=self._send, args=([p for p in paths if p not in self.stored],))
        self._thread.start()

    def _send(self, paths: list[Path]) -> None:
        self.stored.update(answer.path for answer in send(self._peer, "SENDER", paths, 5) if answer.status == 0)

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_killed_while_it_receives_and_while_it_assesses(make_series: MakeSeries, tmp_path: Path) -> None:
    paths = make_series(64)
    port = free_port()
    with Orthanc(tmp_path / "orthanc") as archive:
        node = RunningNode(
            tmp_path / "node",
            [("orthanc", archive.peer)],
            node={"port": port},
            series={"quiet_seconds": 10},
            worker=FOUR_MODELS,
        )
        sender = Sender(ApplicationEntity("CTIQA", "127.0.0.1", port))
        with node:
            for stored_before_kill in (3, 9):
                sender.start(paths)
                eventually(lambda n=stored_before_kill: len(sender.stored) >= n, 30)
                node.kill()
                sender.join()
                node.start()
            assert len(sender.stored) < len(paths), "the node was killed too late to show anything"
            sender.start(paths)
            sender.join()
            assert len(sender.stored) == len(paths)
            for _ in range(2):
                eventually(lambda: node.status()["series"].get("analysing"), 90)
                node.kill()
                node.start()
            (result,) = node.wait_for_end(1)
            assert result["state"] == "delivered"
            assert result["revision"] == 1
            assert len(archive.find("Instance", {})) == len(result["outputs"]) == 2
        check_books(node, sender.stored)
        everything_adds_up(node)


def everything_adds_up(node: RunningNode) -> None:
    """What the admin's own command says after all that."""
    ran = node.run("reconcile")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def check_books(node: RunningNode, stored: set[Path]) -> None:
    """Each instance answered with Success has one row and an unharmed file; each model spoke once."""
    database = Database(node.state / "ctiqa.sqlite")
    with database.read() as session:
        kept = session.scalars(select(Instance).where(Instance.state == InstanceState.KEPT)).all()
        models = session.scalars(select(AssessmentRow.model)).all()
    database.close()
    assert sorted(i.sop_instance_uid for i in kept) == sorted(str(dcmread(p).SOPInstanceUID) for p in stored)
    for instance in kept:
        content = (node.state / "spool" / instance.path).read_bytes()
        assert instance.bytes == len(content)
        assert hashlib.sha256(_dataset_of(content)).hexdigest() == instance.sha256
    assert len(models) == len(set(models)) == len(FOUR_MODELS["assessors"])


def _dataset_of(content: bytes) -> bytes:
    """What follows the file meta information, whose length its first element gives (PS3.10 7.1)."""
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


def test_a_killed_worker_is_replaced_and_the_receiver_does_not_notice(make_series: MakeSeries, tmp_path: Path) -> None:
    with RunningNode(tmp_path / "node", worker=FOUR_MODELS) as node:
        first = eventually(lambda: node.status()["worker"]["pid"], 60)
        os.kill(first, signal.SIGKILL)
        answers = list(send(node.peer, "SENDER", make_series(6), 5))
        assert [answer.status for answer in answers] == [0] * 6
        second = eventually(lambda: (pid := node.status()["worker"]["pid"]) not in {None, first} and pid, 60)
        assert second != first
        eventually(lambda: node.status()["series"].get("analysed") == 1, 120)
        assert "worker died" in node.log()
        everything_adds_up(node)


def test_sigterm_finishes_what_is_being_received(make_series: MakeSeries, tmp_path: Path) -> None:
    paths = make_series(64)
    with RunningNode(tmp_path / "node", series={"quiet_seconds": 60}) as node:
        sender = Sender(node.peer)
        sender.start(paths)
        eventually(lambda: len(sender.stored) >= 2, 30)
        assert node.stop(seconds=30) == 0
        sender.join()
        assert len(sender.stored) == len(paths), "the association that was open was not served to its end"
        assert node.run("status").returncode == 2
        everything_adds_up(node)


def test_sigterm_while_it_assesses_loses_nothing_and_counts_as_no_try(make_series: MakeSeries, tmp_path: Path) -> None:
    with RunningNode(tmp_path / "node", worker={"max_attempts": 1, **FOUR_MODELS}) as node:
        assert all(answer.ok for answer in send(node.peer, "SENDER", make_series(64), 5))
        eventually(lambda: node.status()["series"].get("analysing"), 90)
        assert node.stop(seconds=30) == 0
        node.start()
        (result,) = node.wait_for_end(1, ended={"analysed", "failed"})
        assert (result["state"], result["revision"]) == ("analysed", 1)
        everything_adds_up(node)
