"""What a broken or hostile peer sends: each gets the answer that DICOM defines, nothing is kept, the node lives on."""

from __future__ import annotations

import shutil
import sqlite3
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)
from pynetdicom.presentation import build_context
from sqlalchemy import event

from ctiqa_node.ct.selection import choose
from ctiqa_node.errors import Rejected
from ctiqa_node.ingest import read_header
from support.peers import associated, store, store_encoded
from support.reception import Reception
from support.slices import ct_datasets, part10, peers_bytes, received
from support.waiting import eventually

OpenReception = Callable[..., Reception]


def _refused(reception: Reception, encoded: bytes | None, uid: str, status: int, context: object = None) -> str:
    """Send it, see it refused and nothing kept; then see that the next instance is taken. Returns the comment."""
    contexts = [context or build_context(CTImageStorage, ExplicitVRLittleEndian)]
    with associated(reception.port, contexts) as association:
        response = store_encoded(association, encoded, uid)
        assert response.Status == status, f"0x{response.Status:04X}"
    assert not reception.instances()
    assert not reception.series()
    assert not reception.files()
    eventually(lambda: reception.associations()[0].refused == 1)
    return str(response.ErrorComment)


def _still_receives(reception: Reception, folder: Path) -> None:
    assert store(reception.port, ct_datasets(folder / "still", 1)) == [0]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    (only,) = ct_datasets(tmp_path / "ct", 1)
    return only


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100,
        b"\xff" * 101,
        b"this is no dataset at all, but some text",
        b"\x08\x00\x18\x00UI\x40\x00" + b"1.2",
    ],
    ids=["zeros", "ones", "text", "cut"],
)
def test_bytes_that_are_no_dataset_cannot_be_understood(reception: Reception, tmp_path: Path, garbage: bytes) -> None:
    _refused(reception, garbage, generate_uid(), 0xC000)
    _still_receives(reception, tmp_path)


def test_a_deflated_dataset_that_is_not_deflated_cannot_be_understood(reception: Reception, dataset: Dataset) -> None:
    context = build_context(CTImageStorage, DeflatedExplicitVRLittleEndian)
    comment = _refused(reception, peers_bytes(part10(dataset)), dataset.SOPInstanceUID, 0xC000, context)
    assert "cannot be read" in comment


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_missing_uid_cannot_be_understood(
    reception: Reception, dataset: Dataset, tmp_path: Path, keyword: str
) -> None:
    uid = dataset.SOPInstanceUID
    delattr(dataset, keyword)
    comment = _refused(reception, peers_bytes(part10(dataset)), uid, 0xC000)
    assert comment == f"{pydicom.datadict.dictionary_description(keyword)} is missing."
    _still_receives(reception, tmp_path)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "1.2.3/../../x", "..", "1.2\\..\\3", "1.2.\u0131"])
def test_path_characters_in_a_series_uid_cannot_be_understood(
    reception: Reception, dataset: Dataset, tmp_path: Path, path: str
) -> None:
    dataset.SeriesInstanceUID = "1.2.3"
    encoded = peers_bytes(part10(dataset))
    value = path.encode("latin-1", "replace")
    value += b"\x00" * (len(value) % 2)
    old = b"\x20\x00\x0e\x00UI\x06\x001.2.3\x00"
    assert encoded.count(old) == 1
    before = _tree(tmp_path)
    _refused(
        reception, encoded.replace(old, old[:6] + struct.pack("<H", len(value)) + value), dataset.SOPInstanceUID, 0xC000
    )
    assert _tree(tmp_path) - before <= {"node/ctiqa.sqlite-wal", "node/ctiqa.sqlite-shm"}
    _still_receives(reception, tmp_path)


@pytest.mark.parametrize("change", ["instance", "class"])
def test_a_dataset_of_another_instance_than_the_command_names_does_not_match(
    reception: Reception, dataset: Dataset, tmp_path: Path, change: str
) -> None:
    named = dataset.SOPInstanceUID
    if change == "instance":
        dataset.SOPInstanceUID = generate_uid()
    else:
        dataset.SOPClassUID = MRImageStorage
    _refused(reception, peers_bytes(part10(dataset)), named, 0xA900)
    _still_receives(reception, tmp_path)


def test_a_spool_that_is_gone_refuses(reception: Reception, dataset: Dataset) -> None:
    shutil.rmtree(reception.spool.root / "objects")
    (reception.spool.root / "objects").write_text("not a folder")
    with associated(reception.port) as association:
        assert association.send_c_store(dataset).Status == 0xA700
        shutil.rmtree(reception.spool.root)
        assert association.send_c_store(dataset).Status == 0xA700
    assert not reception.instances()


def test_an_error_that_nobody_expected_is_answered_and_logged(
    reception: Reception, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], configure_logs: Callable[..., None],
) -> None:  # fmt: skip
    configure_logs(format="console")
    with monkeypatch.context() as patch, associated(reception.port) as association:
        patch.setattr(reception.spool, "store", lambda content: content.no_such_attribute)
        dataset.PatientName = "Secret^Patient"
        assert association.send_c_store(dataset).Status == 0x0110
    logged = capsys.readouterr().err
    assert "AttributeError: 'bytes' object has no attribute 'no_such_attribute'" in logged
    assert "Secret" not in logged
    _still_receives(reception, tmp_path)


def test_without_room_an_instance_is_refused_and_taken_when_there_is_room(
    open_reception: OpenReception, dataset: Dataset, tmp_path: Path
) -> None:
    reception = open_reception(min_free_bytes=1 << 60)
    comment = _refused(reception, peers_bytes(part10(dataset)), dataset.SOPInstanceUID, 0xA700)
    assert "MiB free" in comment
    reception.spool._min_free = 0
    assert store(reception.port, [dataset]) == [0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_refuses_and_the_node_recovers(
    open_reception: OpenReception, small_disk: Path, tmp_path: Path
) -> None:
    reception = open_reception(spool=small_disk / "spool")
    filler = small_disk / "filler"
    # The room that statvfs shows, less one block: `require_room` lets the instance pass, writing it fails.
    datasets = ct_datasets(tmp_path / "ct", 3)
    datasets[1].PixelData = bytes(1 << 20)
    filler.write_bytes(bytes(shutil.disk_usage(small_disk).free - (1 << 20)))
    assert store(reception.port, datasets) == [0, 0xA700, 0]
    assert len(reception.files()) == 2
    filler.unlink()
    assert store(reception.port, datasets) == [0, 0, 0]
    assert len(reception.instances()) == 3


@pytest.fixture
def quick_to_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that waits half a second for its lock instead of thirty."""
    monkeypatch.setattr("ctiqa_node.db.session.BUSY_TIMEOUT_MS", 500)


@pytest.mark.usefixtures("quick_to_give_up")
def test_a_locked_database_refuses_and_the_node_recovers(
    open_reception: OpenReception, dataset: Dataset, tmp_path: Path
) -> None:
    reception = open_reception()
    blocker = sqlite3.connect(tmp_path / "node" / "ctiqa.sqlite", isolation_level=None)
    with associated(reception.port) as association:
        blocker.execute("BEGIN IMMEDIATE")
        response = association.send_c_store(dataset)
        assert response.Status == 0xA700
        assert "database" in response.ErrorComment
        assert not reception.files()
        blocker.execute("ROLLBACK")
        assert association.send_c_store(dataset).Status == 0x0000
    blocker.close()


def test_a_read_only_database_refuses_and_the_node_recovers(reception: Reception, dataset: Dataset) -> None:
    engine = reception.database._engine

    def allow_no_writing(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    with associated(reception.port) as association:
        event.listen(engine, "connect", allow_no_writing)
        engine.dispose()
        assert association.send_c_store(dataset).Status == 0xA700
        assert not reception.files()
        event.remove(engine, "connect", allow_no_writing)
        engine.dispose()
        assert association.send_c_store(dataset).Status == 0x0000


def test_an_error_comment_is_cut_to_what_dicom_allows(reception: Reception, dataset: Dataset) -> None:
    dataset.SeriesInstanceUID = "1.2.3"
    encoded = peers_bytes(part10(dataset))
    old = b"\x20\x00\x0e\x00UI\x06\x001.2.3\x00"
    value = b"\\\n\x1b[31m" + b"x" * 200
    value += b"\x00" * (len(value) % 2)
    comment = _refused(
        reception, encoded.replace(old, old[:6] + struct.pack("<H", len(value)) + value), dataset.SOPInstanceUID, 0xC000
    )
    assert len(comment) <= 64
    assert comment.isprintable()


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_broken_in_a_dataset_it_is_read_or_rejected(dataset: Dataset, data: st.DataObject) -> None:
    whole = received(dataset)
    body = bytearray(whole.part10[whole.dataset_offset :])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, 900))
        body[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    broken = whole.part10[: whole.dataset_offset] + bytes(body)
    try:
        header = read_header(_with(whole, broken))
    except Rejected:
        return
    assert header.series_instance_uid
    choose([header.summary] * 5, min_slices=5)


@pytest.mark.parametrize("vr", [b"SS", b"US", b"FL", b"UL", b"AT", b"SQ", b"OB", b"XX"])
def test_a_character_set_of_another_value_representation_is_an_unreadable_dataset(dataset: Dataset, vr: bytes) -> None:
    # pydicom asks for it whenever it reads a text, and does not expect what comes then.
    whole = received(dataset)
    body = whole.part10[whole.dataset_offset :]
    at = body.index(b"\x08\x00\x05\x00CS")
    (length,) = struct.unpack_from("<H", body, at + 6)
    broken = body[:at] + b"\x08\x00\x05\x00" + vr + b"\x05\x00ISO_I" + body[at + 8 + length :]
    with suppress(Rejected):
        read_header(_with(whole, whole.part10[: whole.dataset_offset] + broken))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    charset=st.sampled_from(
        ["ISO_IR 100", "ISO 2022 IR 87", "BOGUS", "ISO_IR 192", "GB18030", "", "ISO 2022 IR 6\\BOGUS"]
    ),
    text=st.binary(min_size=1, max_size=20),
)
def test_text_in_any_character_set_can_be_recorded(tmp_path: Path, dataset: Dataset, charset: str, text: bytes) -> None:
    database_folder = tmp_path / "text"
    if not database_folder.exists():
        _ = Reception(database_folder)
    whole = received(dataset)
    body = whole.part10[whole.dataset_offset :]
    body = _replace_element(body, b"\x08\x00\x05\x00CS", charset.encode())
    body = _replace_element(body, b"\x10\x00\x10\x00PN", text)
    body = _replace_element(body, b"\x08\x00\x3e\x10LO", text)
    try:
        header = read_header(_with(whole, whole.part10[: whole.dataset_offset] + body))
    except Rejected:
        return
    with sqlite3.connect(":memory:") as connection:
        connection.execute("SELECT ?, ?", (header.patient_name, header.series_description))


def _replace_element(body: bytes, tag_and_vr: bytes, value: bytes) -> bytes:
    start = body.index(tag_and_vr)
    (length,) = struct.unpack("<H", body[start + 6 : start + 8])
    value += b" " * (len(value) % 2)
    return body[:start] + tag_and_vr + struct.pack("<H", len(value)) + value + body[start + 8 + length :]


def _with(instance: object, content: bytes) -> object:
    from dataclasses import replace

    return replace(instance, part10=content)


def _tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
