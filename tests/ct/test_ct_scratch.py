"""Where a volume lies: the same numbers in memory and in a file, and a full disk or memory is told in a sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from ctiqa_node.ct import scratch
from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.scratch import Scratch, give_pages_back, new_volume
from support.slices import ct_files

MIB = 1 << 20


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every volume is large."""
    monkeypatch.setattr(scratch, "LARGE_BYTES", 1)


def mapped_kib(folder: Path) -> int:
    """Of the files in a folder, how much this process has in memory (proc(5), smaps)."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    found = [index for index, line in enumerate(lines) if f" {folder}/" in line]
    assert found
    return sum(int(next(line for line in lines[index:] if line.startswith("Rss:")).split()[1]) for index in found)


@pytest.mark.usefixtures("in_files")
def test_a_volume_in_a_file_holds_the_same_numbers_and_has_no_name(tmp_path: Path) -> None:
    paths = ct_files(tmp_path / "ct", 7)
    folder = tmp_path / "scratch"
    folder.mkdir()
    in_file = load_series(paths, scratch=Scratch(folder)).hu
    assert mapped_kib(folder) > 0
    assert list(folder.iterdir()) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "LARGE_BYTES", 256 * MIB)
        in_memory = load_series(paths).hu
    assert type(in_file) is type(in_memory) is np.ndarray
    assert in_file.flags.writeable == in_memory.flags.writeable
    np.testing.assert_array_equal(in_file, in_memory)


@pytest.mark.usefixtures("in_files")
def test_memory_is_given_back_and_the_values_stay(tmp_path: Path) -> None:
    volume = new_volume((16, 512, 512), Scratch(tmp_path), "it")
    volume[:] = np.arange(16, dtype=np.float32)[:, None, None]
    assert mapped_kib(tmp_path) >= 16 * 1024
    give_pages_back(volume[3:])
    assert mapped_kib(tmp_path) == 0
    assert [int(one[0, 0]) for one in volume] == list(range(16))
    give_pages_back(np.zeros((2, 2, 2), dtype=np.float32))  # an array in memory stays as it is


@pytest.mark.usefixtures("in_files")
def test_a_file_that_would_leave_too_little_room_is_not_made(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    with pytest.raises(OSError, match=rf"Series 1.2 needs 0\.0 GiB in {tmp_path} and leave \d+ MiB free") as found:
        new_volume((1, 512, 512), Scratch(tmp_path, keep_free_bytes=free), "Series 1.2")
    assert found.value.errno == errno.ENOSPC  # by which the worker puts the job off


@pytest.mark.usefixtures("in_files")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_before_the_last_slice_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(descriptor: int, offset: int, length: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match="there is no room now"):
        load_series(ct_files(tmp_path / "ct", 3), scratch=Scratch(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


@pytest.mark.usefixtures("in_files")
def test_a_folder_that_may_not_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        new_volume((1, 2, 2), Scratch(tmp_path / "gone"), "it")


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same_slices_in_the_same_order(tmp_path: Path, threads: int) -> None:
    paths = ct_files(tmp_path / "ct", 23)
    expected = load_series(paths, threads=1)
    found = load_series(paths[::-1], threads=threads)
    np.testing.assert_array_equal(found.hu, expected.hu)
    assert found.sources == expected.sources
