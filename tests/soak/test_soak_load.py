"""Load: a thousand associations, ten thousand instances, one instance of 800 MB, and peers that drip."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from sqlalchemy import select

from ctiqa_node.ct.enhanced_writer import write_enhanced
from ctiqa_node.ct.writer import write_series
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.db.tables import Association
from ctiqa_node.dicom import ApplicationEntity
from support.fuzz import RELEASE, association_request
from support.memory import Watch, resident_mib
from support.peers import Archive, associated, store
from support.running_node import RunningNode
from support.slices import ct_datasets
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.peers]

MOST_GROWTH_MIB = 10.0
QUICK = {"assessors": ["snr", "noise_level"]}
WHOLE = 100
"""The `--kills` from which the whole load is meant."""
AT_ONCE = 30
WARM_UP_WAVES = 10
"""Until each of the allocator's arenas, which threads share, has been used by many of them at once."""
DRIP_SECONDS = 60
"""What the node waits for a PDU to be whole; honest peers must be done by then, on a busy machine too."""


@contextmanager
def _node(folder: Path, **settings: Any) -> Iterator[tuple[RunningNode, int]]:
    """A running node, and its process."""
    with RunningNode(folder, **settings) as node:
        assert node.process is not None
        yield node, node.process.pid


@pytest.fixture
def share(pytestconfig: pytest.Config) -> float:
    """How much of the load: all of it, or a tenth in the shorter form that CI runs (`make soak KILLS=12`)."""
    return 1.0 if pytestconfig.getoption("kills", WHOLE) >= WHOLE else 0.1


def _tell(text: str) -> None:
    """Figures for whoever runs it, whatever pytest captures."""
    sys.__stdout__.write(f"\n{text}\n")


def _released(port: int, times: int) -> None:
    for _ in range(times):
        with associated(port):
            pass


def _wave(port: int) -> None:
    """So many associations that are all open at once, and then released; spoken byte by byte, without a thread each."""
    asking = association_request()
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(AT_ONCE)]
        for answer, message in ((b"\x02", asking), (b"\x06", RELEASE)):
            for connection in connections:
                connection.sendall(message)
            assert [connection.recv(1 << 16)[:1] for connection in connections] == [answer] * AT_ONCE


@pytest.mark.timeout(600)
def test_a_thousand_associations_one_by_one_and_in_waves_keep_memory_flat(tmp_path: Path, share: float) -> None:
    singles, waves = int(500 * share), int(20 * share)
    with _node(tmp_path / "node", worker=QUICK) as (node, pid):
        _released(node.port, 100)
        for _ in range(WARM_UP_WAVES):
            _wave(node.port)
        before = _at_rest_mib(node, pid)
        _released(node.port, singles)
        one_by_one = _at_rest_mib(node, pid)
        for _ in range(waves):
            _wave(node.port)
        after = _at_rest_mib(node, pid)
        _tell(
            f"associations: {before:.1f} MiB at first, {one_by_one:.1f} after {singles} one by one, {after:.1f} after "
            f"{waves * AT_ONCE} in waves of {AT_ONCE}"
        )
        assert after - before < MOST_GROWTH_MIB
        assert _outcomes(node) == {AssociationOutcome.RELEASED: 100 + (WARM_UP_WAVES + waves) * AT_ONCE + singles}


def _at_rest_mib(node: RunningNode, pid: int) -> float:
    """Memory of the node once every association has ended: the least of some looks."""
    eventually(lambda: not _outcomes(node)[AssociationOutcome.OPEN], 60)
    looks = []
    for _ in range(10):
        time.sleep(0.3)
        looks.append(resident_mib(pid))
    return min(looks)


def _outcomes(node: RunningNode) -> Counter[AssociationOutcome]:
    """How the node's associations ended, as its database has it."""
    database = Database(node.state / "ctiqa.sqlite")
    try:
        with database.read() as session:
            return Counter(session.scalars(select(Association.outcome)))
    finally:
        database.close()


def _storescu(peer: ApplicationEntity, *what: str, seconds: float) -> float:
    """Send with dcmtk; how long it took."""
    began = time.monotonic()
    patience = ("-R", "-to", "30", "-td", str(int(seconds)))
    done = subprocess.run(
        ["storescu", *patience, "-aec", peer.ae_title, peer.host, str(peer.port), *what],
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return time.monotonic() - began


def _many_slices(folder: Path, count: int) -> None:
    """A series of so many slices of 64×64; each is the first with other identifiers, of the same length."""
    (first,) = write_series(np.random.default_rng(1).normal(40, 20, (1, 64, 64)), (0.2, 4.0, 4.0), folder)
    dataset = pydicom.dcmread(first)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.1000000"
    dataset.ImagePositionPatient = [-126, -126, "7770.0"]
    dataset.InstanceNumber = "654321"
    dataset.save_as(first)
    content = first.read_bytes()
    first.unlink()
    for number in range(count):
        changed = content.replace(b"2.25.1000000", b"2.25.%07d" % (2_000_000 + number))
        changed = changed.replace(b"7770.0", b"%06.1f" % (number * 0.2)).replace(b"654321", b"%06d" % (number + 1))
        (folder / f"{number:05d}.dcm").write_bytes(changed)


@pytest.mark.timeout(1800)
def test_ten_thousand_instances_in_one_series_reach_a_final_state(tmp_path: Path, share: float) -> None:
    count = int(10_000 * share)
    _many_slices(tmp_path / "ct", count)
    with Archive() as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        with _node(tmp_path / "node", archives=[("archive", peer)], worker=QUICK, series={"quiet_seconds": 20}) as (
            node,
            pid,
        ):
            with Watch(pid) as watch:
                before = resident_mib(pid)
                sending = _storescu(node.peer, "+sd", str(tmp_path / "ct"), seconds=900)
                received = resident_mib(pid)
                began = time.monotonic()
                (result,) = node.wait_for_end(1, 600)
                assessing = time.monotonic() - began
            _tell(
                f"{count} instances: sent in {sending:.0f} s ({count / sending:.0f} a second), final state "
                f"{assessing:.0f} s later; node {before:.0f} MiB at first, {received:.0f} when received, at most "
                f"{watch.node:.0f}; worker at most {watch.worker:.0f}"
            )
            assert result["state"] == "delivered", result
            assert received - before < 100
            assert node.run("reconcile").returncode == 0
    assert archive.kept


@pytest.mark.timeout(1200)
def test_an_enhanced_ct_of_800_mb_is_received_and_assessed(tmp_path: Path, share: float) -> None:
    few = np.random.default_rng(2).normal(40, 20, (8, 512, 512)).astype(np.float32)
    write_enhanced(np.tile(few, (int(200 * share), 1, 1)), (0.5, 0.7, 0.7), tmp_path / "ct" / "large.dcm")
    megabytes = (tmp_path / "ct" / "large.dcm").stat().st_size / 1e6
    assert megabytes > 800 * share
    with Archive() as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        with _node(tmp_path / "node", archives=[("archive", peer)], worker=QUICK) as (node, pid):
            with Watch(pid) as watch:
                before = resident_mib(pid)
                sending = _storescu(node.peer, str(tmp_path / "ct" / "large.dcm"), seconds=300)
                received = resident_mib(pid)
                began = time.monotonic()
                (result,) = node.wait_for_end(1, 600)
                assessing = time.monotonic() - began
            _tell(
                f"Enhanced CT of {megabytes:.0f} MB: sent in {sending:.1f} s, final state {assessing:.0f} s later; "
                f"node {before:.0f} MiB at first, at most {watch.node:.0f}, {received:.0f} afterwards; worker at most "
                f"{watch.worker:.0f}"
            )
            assert result["state"] == "delivered", result
            assert watch.node < before + 2.5 * megabytes + 50
            assert received < before + 200


@pytest.mark.timeout(300)
def test_peers_that_drip_half_pdus_block_nobody_and_are_ended(tmp_path: Path) -> None:
    half_request = association_request()[:60]
    half_fragment = struct.pack(">BBLLBB", 4, 0, 5000, 4996, 1, 0)
    timeouts = {"acse_timeout_seconds": DRIP_SECONDS, "network_timeout_seconds": DRIP_SECONDS}
    with _node(tmp_path / "node", node=timeouts, worker=QUICK) as (node, _):
        alone = _time_to_store(node.port, tmp_path / "alone")
        drips = [_dripping(node.port, half_request, asked=False) for _ in range(20)]
        drips += [_dripping(node.port, association_request() + half_fragment, asked=True) for _ in range(40)]
        began, stop = time.monotonic(), threading.Event()
        dripping = threading.Thread(target=_drip, args=(drips, stop))
        dripping.start()
        try:
            beside = max(_time_to_store(node.port, tmp_path / f"beside{number}") for number in range(4))
            assert not any(map(_is_closed, drips)), "they must still be there"
            eventually(lambda: all(map(_is_closed, drips)), 3 * DRIP_SECONDS)
            ended = time.monotonic() - began
        finally:
            stop.set()
            dripping.join(20)
            for drip in drips:
                drip.close()
        _tell(f"20 instances: {alone:.2f} s alone, {beside:.2f} s beside 60 that drip; all were ended in {ended:.0f} s")
        assert beside < max(10 * alone, 10)


def _time_to_store(port: int, folder: Path) -> float:
    datasets = ct_datasets(folder, 20)
    began = time.monotonic()
    assert store(port, datasets) == [0] * 20
    return time.monotonic() - began


def _dripping(port: int, beginning: bytes, *, asked: bool) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 20)
    request_bytes = len(association_request())
    connection.sendall(beginning[:request_bytes])
    if asked:
        assert connection.recv(1 << 16)[:1] == b"\x02"
        connection.sendall(beginning[request_bytes:])
    return connection


def _drip(connections: Sequence[socket.socket], stop: threading.Event) -> None:
    """A byte for each, again and again."""
    while not stop.wait(0.5):
        for connection in connections:
            try:
                connection.sendall(b"\x00")
            except OSError:
                continue


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True
