"""The spool: whole files or none, nothing left behind, and what a crash leaves is set aside."""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctiqa_node.errors import RetryLater
from ctiqa_node.spool import Spool, write_durably


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 0)


def _files(spool: Spool) -> list[Path]:
    return sorted(path for path in spool.root.rglob("*") if path.is_file())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=5000))
def test_what_is_stored_comes_back_and_its_name_is_ours(spool: Spool, content: bytes) -> None:
    relative = spool.store(content)
    assert re.fullmatch(r"objects/([0-9a-f]{2})/\1[0-9a-f]{30}\.dcm", relative)
    assert spool.path(relative).read_bytes() == content
    assert list((spool.root / "incoming").iterdir()) == []


def test_the_same_content_twice_is_two_files(spool: Spool) -> None:
    assert spool.store(b"same") != spool.store(b"same")


def test_many_threads_store_at_once(spool: Spool) -> None:
    stored: dict[str, bytes] = {}

    def work(name: int) -> None:
        for number in range(10):
            content = f"{name} {number}".encode() * 100
            stored[spool.store(content)] = content

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(stored) == 60
    assert all(spool.path(relative).read_bytes() == content for relative, content in stored.items())


@contextmanager
def files_of_at_most_8_kib() -> Iterator[None]:
    """No file of this process can grow beyond 8 KiB: a write that fails in its middle, as on a full disk.

    The test run's own output is such a file, too: hold it no longer than the write takes.
    """
    old, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_write_that_fails_in_its_middle_leaves_nothing(spool: Spool) -> None:
    with files_of_at_most_8_kib(), pytest.raises(RetryLater, match="The spool cannot be written: File too large"):
        spool.store(bytes(20_000))
    assert _files(spool) == []
    assert spool.path(spool.store(bytes(8000))).stat().st_size == 8000


def test_an_output_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "1-sr.dcm"
    write_durably(path, BytesIO(b"old"))
    with files_of_at_most_8_kib(), pytest.raises(OSError, match="File too large"):
        write_durably(path, BytesIO(bytes(20_000)))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "1-sr.dcm"
    for content in (b"first", b"second, longer"):
        write_durably(path, BytesIO(content))
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_room_is_kept_free(tmp_path: Path) -> None:
    free = Spool(tmp_path / "spool", 0).free_bytes()
    spool = Spool(tmp_path / "spool", free // 2)
    spool.require_room(1000)
    with pytest.raises(RetryLater, match=r"Only \d+ MiB free in the spool; spool\.min_free_mib is \d+"):
        spool.require_room(free)
    greedy = Spool(tmp_path / "spool", free * 2)
    with pytest.raises(RetryLater):
        greedy.store(b"x")
    assert _files(greedy) == []


def test_files_without_a_row_are_set_aside_and_half_written_ones_removed(spool: Spool) -> None:
    claimed, unclaimed = spool.store(b"claimed"), spool.store(b"unclaimed")
    (spool.root / "incoming" / "half.part").write_bytes(b"half")
    assert spool.set_aside_unclaimed({claimed}) == 1
    assert _files(spool) == sorted([spool.path(claimed), spool.root / "unclaimed" / Path(unclaimed).name])
    assert spool.set_aside_unclaimed({claimed}) == 0


def test_discarding_what_is_not_there_is_no_error(spool: Spool) -> None:
    relative = spool.store(b"x")
    spool.discard(relative)
    spool.discard(relative)
    assert _files(spool) == []


def test_a_writer_killed_at_any_moment_leaves_only_whole_files(spool: Spool) -> None:
    script = (
        "import sys; from pathlib import Path; from ctiqa_node.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), 0); print('ready', flush=True)\n"
        "while True: spool.store(bytes(300_000))\n"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", script, str(spool.root)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            threading.Event().wait(0.15)
            process.kill()
    kept = [path for path in _files(spool) if path.suffix == ".dcm"]
    assert kept
    assert {path.stat().st_size for path in kept} == {300_000}
    spool.set_aside_unclaimed({str(path.relative_to(spool.root)) for path in kept})
    assert _files(spool) == kept


def test_spooled_files_belong_to_their_owner_alone_through_the_state_folder(tmp_path: Path) -> None:
    from ctiqa_node.state import StateFolder

    old = os.umask(0)
    try:
        folder = StateFolder(tmp_path / "state")
        folder.create()
    finally:
        os.umask(old)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.root, folder.spool, folder.outputs)] == [0o700] * 3


def test_what_a_bad_disk_keeps_is_removed_later(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    relative = spool.store(b"nobody claims it")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _read_only)
        spool.discard(relative)
        spool.tidy()
        assert len(_files(spool)) == 1
    spool.tidy()
    assert _files(spool) == []


def _read_only(path: Path, missing_ok: bool = False) -> None:
    raise OSError(30, "Read-only file system", str(path))
