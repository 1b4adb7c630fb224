"""Every fault of an archive at once, at one node: each destination has every result once, and the books add up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from archives import Orthanc, free_port
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import evt

from ctiqa_node.ct.writer import SeriesTags
from ctiqa_node.dimse.storage_scu import send
from support import running_node
from support.committing import CommittingArchive, Way
from support.peers import Archive
from support.running_node import RunningNode
from support.slices import ct_files
from support.waiting import eventually

pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(600)]

SERIES = 3
QUICK = {
    "first_retry_seconds": 0.5, "max_retry_seconds": 2, "connection_timeout_seconds": 3, "answer_timeout_seconds": 3,
    "commitment_wait_seconds": 4,
}  # fmt: skip


class Once(CommittingArchive):
    """Remembers each content, and does something else the first time that it gets an object."""

    def __init__(self, fault: Callable[[evt.Event], None], way: Way = Way.NEVER, **how: Any) -> None:
        super().__init__(way, **how)
        self._fault = fault
        self.contents: dict[str, set[bytes]] = {}

    def _store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        first = uid not in self.requests
        status = super()._store(event)
        if status == 0x0000 or status >> 12 == 0xB:
            self.contents.setdefault(uid, set()).add(event.request.DataSet.getvalue())
        if first:
            self._fault(event)
        return status


def nothing(_: evt.Event) -> None:
    return


def answer_late(_: evt.Event) -> None:
    threading.Event().wait(5)


def half_close(event: evt.Event) -> None:
    event.assoc.dul.socket.socket.shutdown(socket.SHUT_WR)


def lose(archive: Once) -> Callable[[evt.Event], None]:
    """Answer Success, and keep nothing: only a commitment finds that out."""
    return lambda event: archive.kept.remove(str(event.request.AffectedSOPInstanceUID))


@pytest.fixture
def node_port() -> int:
    return free_port()


@pytest.fixture
def archives(node_port: int) -> Iterator[dict[str, Once]]:
    made = {
        "late": Once(answer_late),
        "half-closed": Once(half_close),
        "warning": Once(nothing),
        "refusing": Once(nothing),
        "commits-at-once": Once(nothing, Way.SAME),
        "commits-late": Once(nothing, Way.NEW, report_to=lambda: node_port),
        "loses": Once(nothing, Way.NEW, report_to=lambda: node_port),
        "answers-with-an-error": Once(nothing, Way.SAME),
    }
    made["warning"].answers = {SecondaryCaptureImageStorage: 0xB000}
    made["refusing"].answers = {SecondaryCaptureImageStorage: 0x0122}
    made["commits-late"].may_report.clear()
    made["loses"]._fault = lose(made["loses"])
    made["answers-with-an-error"].answer = 0x0110
    with ExitStack() as stack:
        for each in made.values():
            stack.enter_context(each)
        yield made


def to(name: str, archive: Archive) -> dict[str, Any]:
    commits = name.startswith(("commits", "loses", "answers"))
    where = {"host": "127.0.0.1", "port": archive.port}
    return {"name": name, "ae_title": archive.ae_title, **where, "commitment": commits}


def test_every_fault_at_once(
    archives: dict[str, Once], node_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_node, "START_SECONDS", 240.0)
    down = Once(nothing)
    down.port = free_port()
    us = {"AET": "CTIQA", "Host": "127.0.0.1", "Port": node_port, "AllowStorageCommitment": True}
    settings = {"DicomModalities": {"ctiqa": us}, "DicomAlwaysAllowFind": True}
    with Orthanc(tmp_path / "orthanc", settings=settings) as orthanc, ExitStack() as later:
        real = {"name": "orthanc", "ae_title": orthanc.peer.ae_title, "host": "127.0.0.1", "port": orthanc.peer.port}
        destinations = [*(to(*each) for each in archives.items()), to("down", down), real | {"commitment": True}]
        node = RunningNode(
            tmp_path / "node", node={"port": node_port}, destinations=destinations, delivery=QUICK,
            worker={"assessors": ["snr"]}, completeness={"archive": "orthanc"},
        )  # fmt: skip
        with node:
            for number in range(SERIES):
                paths = ct_files(tmp_path / f"ct-{number}", 6, tags=SeriesTags(series_description=f"series {number}"))
                assert all(answer.ok for answer in send(node.peer, "SENDER", paths, 10))
            eventually(lambda: all(_has_all(archives[name]) for name in archives if name != "refusing"), 240)
            assert node.status()["series"] == {"analysed": SERIES}, "one is down, one has not committed"
            archives["answers-with-an-error"].answer = 0x0000
            archives["commits-late"].may_report.set()
            later.enter_context(down)
            results = node.wait_for_end(SERIES, 240)
            assert {series["state"] for series in results} == {"delivered"}
            assert _count_delivered(results) == {"sent": SERIES * 2 * 10 - SERIES, "refused": SERIES}
            assert all(o["warnings"].get("warning") for s in results for o in s["outputs"] if o["kind"] == "summary")
            reconciled = node.run("reconcile")
            assert (reconciled.returncode, "Everything adds up" in reconciled.stdout) == (0, True), reconciled.stdout
        assert len(orthanc.find("Instance", {})) == 2 * SERIES
    expected = {output["sop_instance_uid"] for series in results for output in series["outputs"]}
    for name, archive in (*archives.items(), ("down", down)):
        taken = {uid for uid in expected if uid in archive.contents}
        assert set(archive.contents) == taken, f"{name} got something else"
        assert len(taken) == (SERIES if name == "refusing" else 2 * SERIES), name
        assert all(len(each) == 1 for each in archive.contents.values()), f"{name} got two contents under one UID"
    lost = archives["loses"]
    assert sorted(set(lost.kept)) == sorted(expected), "what it had lost it has now"
    assert all(lost.requests.count(uid) >= 2 for uid in expected), "and it was sent again"


def _has_all(archive: Once) -> bool:
    return len(archive.contents) == 2 * SERIES


def _count_delivered(results: list[dict[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for series in results:
        for output in series["outputs"]:
            for state in output["deliveries"].values():
                found[state] = found.get(state, 0) + 1
    return found
