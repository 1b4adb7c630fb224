"""What reception costs, in counts that are the same on every machine: syncs, commits, copies, and nothing decoded."""

from __future__ import annotations

import os
import subprocess
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless
from sqlalchemy import event

from ctiqa_node.ct.writer import write_series
from ctiqa_node.dicom import ReceivedInstance
from support.peers import associated, contexts_for, store, store_encoded
from support.reception import Reception
from support.slices import ct_datasets, ct_files, part10, peers_bytes, received
from support.waiting import eventually

FEW, MANY = 2, 7
LARGE = 2048
"""Rows and columns of an image of 8 MiB: large beside all that reception needs otherwise."""


@contextmanager
def recorded_syncs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """What was synced, as it was called then."""
    synced: list[Path] = []
    sync = os.fsync

    def note_and_sync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", note_and_sync)
        yield synced


def test_each_instance_costs_one_sync_of_its_file_and_at_most_one_of_a_folder(
    reception: Reception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorded_syncs(monkeypatch) as synced:
        assert store(reception.port, ct_datasets(tmp_path / "ct", MANY)) == [0] * MANY
    files = [path for path in synced if path.suffix == ".part"]
    assert sorted(path.stem for path in files) == sorted(path.stem for path in reception.files())
    assert len(synced) - len(files) <= MANY


def test_a_copy_of_what_is_here_costs_no_sync(
    reception: Reception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = ct_datasets(tmp_path / "ct", FEW)
    store(reception.port, datasets)
    with recorded_syncs(monkeypatch) as synced:
        assert store(reception.port, datasets) == [0] * FEW
    assert synced == []


def test_each_instance_costs_at_most_one_commit(reception: Reception, tmp_path: Path) -> None:
    commits = 0

    def count(connection: object) -> None:
        nonlocal commits
        commits += 1

    event.listen(reception.database._engine, "commit", count)

    def commits_for(datasets: Sequence[Dataset]) -> int:
        before, known = commits, len(reception.associations())
        store(reception.port, datasets)
        eventually(lambda: [a for a in reception.associations()[known:] if a.closed_at is not None])
        return commits - before

    few = commits_for(ct_datasets(tmp_path / "few", FEW))
    many = commits_for(ct_datasets(tmp_path / "many", MANY))
    assert few >= 1
    assert many - few <= MANY - FEW


def test_pixel_data_that_no_decoder_can_read_is_kept_to_the_byte(reception: Reception, tmp_path: Path) -> None:
    (path,) = ct_files(tmp_path / "ct", 1, transfer_syntax=JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([b"this is no JPEG-LS" * 10])
    sent = peers_bytes(part10(dataset))
    with associated(reception.port, contexts_for([dataset])) as association:
        assert store_encoded(association, sent, dataset.SOPInstanceUID).Status == 0x0000
    (kept,) = reception.files()
    assert peers_bytes(kept.read_bytes()) == sent
    with pytest.raises(RuntimeError, match="decode"):
        pydicom.dcmread(BytesIO(kept.read_bytes())).pixel_array  # noqa: B018  # that it cannot is what is asked


def large_image(folder: Path) -> Path:
    (path,) = write_series(np.zeros((1, LARGE, LARGE), np.float32), (1.0, 0.5, 0.5), folder)
    return path


@pytest.fixture
def traced_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("traced_memory")
def test_taking_an_instance_in_copies_nothing_of_its_dataset(reception: Reception, tmp_path: Path) -> None:
    instance: ReceivedInstance = received(pydicom.dcmread(large_image(tmp_path / "ct")))
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    reception.ingest.receive(instance)
    _, peak = tracemalloc.get_traced_memory()
    assert peak - before < 0.25 * len(instance.part10)


@pytest.mark.peers
@pytest.mark.usefixtures("traced_memory")
def test_from_the_socket_to_the_file_there_are_at_most_two_copies(reception: Reception, tmp_path: Path) -> None:
    path = large_image(tmp_path / "ct")
    size = path.stat().st_size
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    node = ["-aec", "CTIQA", "127.0.0.1", str(reception.port)]
    subprocess.run(["storescu", *node, str(path)], check=True, timeout=60)
    _, peak = tracemalloc.get_traced_memory()
    (kept,) = reception.files()
    assert kept.stat().st_size > 0.9 * size
    assert peak - before < 2.5 * size
