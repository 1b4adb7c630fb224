"""Disks that are full or read-only: clear answers, a node that lives on and recovers by itself; then all is counted."""

from __future__ import annotations

import gc
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from archives import free_port
from counting import FINAL, CountingArchive, count
from phases import under_way
from pydicom import dcmread
from senders import Modality
from shim import BadDisk, build_shim
from soak_report import Report, Row
from test_soak_kills import FAST

from ctiqa_node.ct.writer import write_series
from ctiqa_node.dicom import ApplicationEntity
from support.peers import associated, request, store
from support.running_node import RunningNode
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.peers, pytest.mark.timeout(600)]

SERIES, SLICES = 6, 20
LONGER_THAN_ALL_TRIES = 24.0
"""Of a series that fails: 5 s and 10 s lie between its three tries."""

FAULTS = (
    ("ENOSPC", "", True),
    ("EROFS", "", True),
    ("ENOSPC", "/spool/", True),
    ("ENOSPC", "ctiqa.sqlite", True),
    ("ENOSPC", "/outputs/", False),
    ("EIO", "/spool/", True),
)
"""Which error, in paths with which word, and whether instances are refused for it."""


def series_in(folder: Path, how_many: int = SERIES) -> list[list[Path]]:
    chance = np.random.default_rng(8)
    volumes = [chance.normal(0, 30, (SLICES, 128, 128)).clip(-500, 500) for _ in range(how_many)]
    return [write_series(each, (5.0, 2.0, 2.0), folder / f"series-{index}") for index, each in enumerate(volumes)]


class Ward:
    """A node with an archive, and three senders that do not give up; `finish` counts."""

    def __init__(self, folder: Path, state: Path, **settings: object) -> None:
        self.archive = CountingArchive()
        self.archive.start()
        self.port = free_port()
        destination = ("archive", ApplicationEntity("COUNTER", "127.0.0.1", self.archive.port))
        node = {"port": self.port, "state_dir": str(state)}
        self.node = RunningNode(
            folder / "node", [destination], **{"node": node, "series": {"quiet_seconds": 2}, "worker": FAST, **settings}
        )
        self.node.state = state
        self.senders = [
            Modality(f"CT{index}", ApplicationEntity("CTIQA", "127.0.0.1", self.port)) for index in range(3)
        ]
        self._began = time.monotonic()

    def give(self, series: list[list[Path]]) -> None:
        for index, paths in enumerate(series):
            self.senders[index % 3].give(paths)

    @property
    def stored(self) -> set[Path]:
        return {path for sender in self.senders for path in sender.stored}

    def is_alive(self) -> bool:
        assert self.node.process is not None
        return self.node.process.poll() is None

    def wait_for_senders(self) -> None:
        """Until all they have was answered with Success."""
        eventually(lambda: all(sender.idle for sender in self.senders), 240)

    def has_ended(self) -> bool:
        """Whether all that was given was sent, and came to an end."""
        time.sleep(0.2)
        return all(sender.idle for sender in self.senders) and set(self.node.status()["series"]) <= FINAL

    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._began

    def finish(self, report: Report, fault: str, series: list[list[Path]]) -> None:
        """Everything comes to its end by itself, and adds up."""
        self.wait_for_senders()
        results = self.node.wait_for_end(len(series), 300)
        counted = count(self.node, self.stored, self.archive.instances, sent_again=self.archive.sent_again)
        report.add(Row(fault, 1, counted, self.seconds()))
        counted.check()
        assert self.stored == {path for paths in series for path in paths}
        assert {each["state"] for each in results} == {"delivered"}, [each["reason"] for each in results]

    def close(self) -> None:
        for sender in self.senders:
            sender.stop()
        self.archive.stop()


@contextmanager
def ward(folder: Path, state: Path, **settings: object) -> Iterator[Ward]:
    made = Ward(folder, state, **settings)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shim(tmp_path_factory.mktemp("shim"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """In a short soak the first two of the faults."""
    if "error" in metafunc.fixturenames:
        faults = FAULTS if metafunc.config.option.kills >= 50 else FAULTS[:2]
        metafunc.parametrize(("error", "where", "refuses"), faults)


def test_a_disk_that_cannot_be_written_for_a_while(
    library: Path, tmp_path: Path, soak_report: Report, error: str, where: str, refuses: bool
) -> None:
    series = series_in(tmp_path)
    probe = [dcmread(series[-1][0])]
    disk = BadDisk(library, tmp_path / "state", tmp_path / "fault")
    with ward(tmp_path, tmp_path / "state") as here:
        here.node.variables = disk.variables
        with here.node:
            here.give(series[:3])
            eventually(lambda: len(here.stored) >= 5, 120)
            with disk.failing(error, where):  # in reception
                time.sleep(0.3)
                assert store(here.port, probe) == ([0xA700] if refuses else [0])
                stored = len(here.stored)
                time.sleep(3)
                assert (len(here.stored) <= stored + 3) == refuses
                assert here.is_alive()
            here.give(series[3:])
            database = here.node.state / "ctiqa.sqlite"
            eventually(lambda: under_way(database) & {"assessment", "making"}, 300)
            with disk.failing(error, where):  # in assessment
                time.sleep(LONGER_THAN_ALL_TRIES)
                assert here.is_alive()
            here.finish(soak_report, f"{error} in {where or 'all'}, in reception and assessment", series)
        if refuses:
            assert '"status": "0xA700"' in here.node.log()


@contextmanager
def mounted(folder: Path, *words: str) -> Iterator[Path]:
    """A filesystem of its own; skips the test where none may be mounted."""
    folder.mkdir()
    done = subprocess.run(["mount", *words, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no filesystem can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        _unmount(folder)


def _unmount(folder: Path) -> None:
    """As soon as nobody has it open: the worker outlives a node that was killed by a moment, and would keep the old
    state of the filesystem in use for whoever mounts it again.
    """

    def done() -> bool:
        gc.collect()  # connections to the database of ours
        return subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0

    try:
        eventually(done, 60)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def fill(disk: Path, leave_mib: float) -> Path:
    """Fill a disk but for so many MiB; the file that does it."""
    filler = disk / "filler"
    # Never less full than before: somebody may be waiting for room. What the node writes meanwhile makes it no fuller.
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - int(leave_mib * (1 << 20)))))
    return filler


def test_a_small_disk_fills_up(tmp_path: Path, soak_report: Report) -> None:
    series = series_in(tmp_path)
    probe = [dcmread(series[0][0])]
    room = {"min_free_mib": 4, "refuse_associations_below_mib": 8}
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64m", "tmpfs") as disk,
        ward(tmp_path, disk / "state", spool=room) as here,
        here.node as node,
    ):
        with associated(here.port) as open_before:
            filler = fill(disk, 7)  # below the watermark: who sends already goes on, nobody else begins
            assert open_before.send_c_store(probe[0]).Status == 0
            rejected = request(here.port)
            assert rejected.is_rejected
            answer = rejected.acceptor.primitive
            assert answer is not None
            assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 1)
            fill(disk, 3)  # below what is kept free
            assert open_before.send_c_store(dcmread(series[0][1])).Status == 0xA700
            fill(disk, 0)  # to the last byte, database and all
            assert open_before.send_c_store(dcmread(series[0][2])).Status == 0xA700
        here.give(series)
        eventually(lambda: sum(sender.tries for sender in here.senders) >= 6, 120)
        assert not here.stored
        assert "instances are refused with 0xA700" in " ".join(node.run("status").stdout.split())
        assert here.is_alive()
        filler.unlink()
        eventually(lambda: len(here.stored) >= 30, 240)
        filler = fill(disk, 0)  # in the middle of everything
        time.sleep(LONGER_THAN_ALL_TRIES)
        assert here.is_alive()
        filler.unlink()
        here.finish(soak_report, "tmpfs filled: watermark, reception, database, assessment", series)
    assert "new associations are rejected" in here.node.log()
    assert "new associations are taken again" in here.node.log()


def test_a_filesystem_that_turns_read_only(
    tmp_path: Path, soak_report: Report, report_seconds: Callable[[], float]
) -> None:
    series = series_in(tmp_path)
    image = tmp_path / "image"
    image.write_bytes(b"")
    subprocess.run(["truncate", "-s", "96M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    options = ("-o", "loop,errors=remount-ro", str(image))
    with ward(tmp_path, tmp_path / "disk" / "state") as here:
        with mounted(tmp_path / "disk", *options) as disk, here.node as node:
            here.give(series)
            eventually(lambda: len(here.stored) >= 30, 240)
            _break(disk)
            eventually(lambda: store(here.port, [dcmread(series[0][0])]) == [0xA700], 20)
            time.sleep(2)
            assert here.is_alive()
            status, doctor = node.run("status"), node.run("doctor")
            assert "cannot be written (Read-only file system)" in " ".join(status.stdout.split())
            assert "Read-only file system" in doctor.stdout
            assert "Read-only file system" in node.log()
            node.kill()
        (tmp_path / "disk").rmdir()
        repaired = subprocess.run(["e2fsck", "-p", "-f", str(image)], capture_output=True, text=True, check=False)
        assert repaired.returncode in {0, 1}, repaired.stdout
        with mounted(tmp_path / "disk", *options), here.node:
            here.finish(soak_report, "ext4 turned read-only, repaired, mounted again", series)


def _break(disk: Path) -> None:
    """Have the kernel find an error of the filesystem, upon which it takes no more changes."""
    device = subprocess.run(
        ["findmnt", "-n", "-o", "SOURCE", str(disk)], capture_output=True, text=True, check=True
    ).stdout.strip()
    trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
    if not trigger.exists():
        pytest.skip("this kernel has no trigger_fs_error")
    trigger.write_text("injected by a test")
