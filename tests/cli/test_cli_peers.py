from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_state import Run, as_if_running, body
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MediaStorageDirectoryStorage, generate_uid
from pynetdicom import AE, evt

from ctiqa_node.ct.writer import SeriesTags, write_series
from ctiqa_node.state import StateFolder

VERIFICATION = UID("1.2.840.10008.1.1")


class Peer:
    """A Storage SCP that keeps the SOP Instance UIDs it took, and refuses those of one series."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.calling: set[str] = set()
        self.refused_series = ""
        ae = AE(ae_title="PEER")
        ae.require_called_aet = True
        ae.add_supported_context(CTImageStorage)
        ae.add_supported_context(VERIFICATION)
        server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        assert server is not None
        assert server.socket is not None
        self._server = server
        self.port = server.socket.getsockname()[1]
        self.name = f"PEER@127.0.0.1:{self.port}"

    def _store(self, event: evt.Event) -> int:
        self.calling.add(event.assoc.requestor.ae_title)
        if self.refused_series == event.dataset.SeriesInstanceUID:
            return 0xA700
        self.stored.append(str(event.dataset.SOPInstanceUID))
        return 0x0000

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two series in subfolders, a text file, and a DICOMDIR."""
    for name in ("a", "b"):
        write_series(body(2), (5, 4, 4), tmp_path / "in" / name, tags=SeriesTags(series_uid=f"2.25.{ord(name)}"))
    (tmp_path / "in" / "notes.txt").write_text("not DICOM")
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.save_as(tmp_path / "in" / "DICOMDIR", enforce_file_format=True)
    return tmp_path / "in"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_echo_says_that_a_peer_answers(run: Run, peer: Peer) -> None:
    ran = run("echo", peer.name)
    assert ran.exit_code == 0
    assert ran.stdout == f"{peer.name} answers.\n"


def test_echo_says_why_a_peer_does_not_answer(run: Run, peer: Peer) -> None:
    wrong_title = run("echo", f"WRONG@127.0.0.1:{peer.port}")
    assert wrong_title.exit_code == 1
    assert "rejected the association" in wrong_title.stderr
    nobody = run("echo", f"PEER@127.0.0.1:{free_port()}")
    assert nobody.exit_code == 1
    assert "cannot be reached" in nobody.stderr
    assert len(nobody.stderr.splitlines()) == 1


def test_echo_without_a_peer_calls_the_node_as_it_is_configured(run: Run, peer: Peer, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"node: {{ae_title: PEER, port: {peer.port}, state_dir: {tmp_path / 'none'}}}")
    assert run("echo", config=own).exit_code == 0


def test_echo_without_a_peer_calls_a_running_node_where_it_really_listens(run: Run, state: StateFolder) -> None:
    with as_if_running(state):
        assert "CTIQA@127.0.0.1:11999" in run("echo").stderr


@pytest.mark.parametrize("text", ["PACS", "PACS@host", "PACS@host:0", "PACS@host:70000", "A_TITLE_TOO_LONG_@host:104"])
def test_a_peer_that_is_not_written_as_ae_host_port_is_wrong_usage(run: Run, text: str) -> None:
    assert run("echo", text).exit_code == 2


def test_send_takes_the_dicom_files_of_all_folders_and_says_what_it_left_out(
    run: Run, peer: Peer, folder: Path
) -> None:
    ran = run("send", str(folder), "--to", peer.name, "--calling", "CT_5", "--json")
    assert ran.exit_code == 0
    assert ran.json == {"peer": peer.name, "sent": 4, "failed": 0, "not_dicom": 2, "failures": {}}
    assert len(set(peer.stored)) == 4
    assert peer.calling == {"CT_5"}


def test_refusals_are_counted_by_their_reason_and_end_with_exit_code_1(run: Run, peer: Peer, folder: Path) -> None:
    peer.refused_series = f"2.25.{ord('b')}"
    ran = run("send", str(folder), "--to", peer.name)
    assert ran.exit_code == 1
    assert f"2 files sent to {peer.name}, 2 failed." in ran.stdout
    assert "Failure 0xA700: out of resources" in ran.stdout
    assert len(peer.stored) == 2


def test_a_broken_file_is_reported_and_the_others_are_sent(run: Run, peer: Peer, folder: Path) -> None:
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0")
    ran = run("send", str(folder), "--to", peer.name, "--json")
    assert ran.exit_code == 1
    assert (ran.json["sent"], ran.json["failed"]) == (4, 1)
    assert "not a readable DICOM file" in next(iter(ran.json["failures"]))


def test_sending_to_nobody_or_nothing_fails(run: Run, folder: Path) -> None:
    nobody = run("send", str(folder), "--to", f"PEER@127.0.0.1:{free_port()}")
    assert nobody.exit_code == 1
    assert "cannot be reached" in nobody.stdout
    nothing = run("send", str(folder / "notes.txt"), "--to", "PEER@127.0.0.1:104")
    assert nothing.exit_code == 1
    assert "no DICOM file" in nothing.stderr
    assert run("send", str(folder / "none"), "--to", "PEER@127.0.0.1:104").exit_code == 2
