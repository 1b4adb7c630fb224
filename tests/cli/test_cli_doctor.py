"""`doctor`: each thing that can be wrong has its line, with what to do; and all well is exit code 0."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cli_state import Ran, Run, as_if_running
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StudyRootQueryRetrieveInformationModelFind, Verification

from ctiqa_models import catalog
from ctiqa_models.weights import WeightsFile
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OutputKind
from ctiqa_node.db.tables import Heartbeat
from ctiqa_node.doctor import machine
from ctiqa_node.doctor.destinations import SOP_CLASSES
from ctiqa_node.state import StateFolder
from support.certificates import make_hospital
from support.rows import SOP_CLASSES as MADE


class FindingArchive:
    """A Storage SCP that can be asked by C-FIND for what it keeps; `loses`: it keeps nothing, `finds`: it answers."""

    def __init__(
        self, *, finds: bool = True, loses: bool = False, refuses: tuple[str, ...] = (), commits: bool = True
    ) -> None:
        self._loses = loses
        self.kept: list[Dataset] = []
        self._ae = AE(ae_title="PACS")
        self._ae.require_called_aet = True
        self._ae.supported_contexts = [
            context for context in AllStoragePresentationContexts if context.abstract_syntax not in refuses
        ]
        self._ae.add_supported_context(Verification)
        if commits:
            self._ae.add_supported_context(StorageCommitmentPushModel)
        if finds:
            self._ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)

    def start(self, **how: Any) -> int:
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find)]
        server = self._ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, **how)
        assert server is not None
        return int(server.socket.getsockname()[1])

    def stop(self) -> None:
        self._ae.shutdown()

    def _store(self, event: evt.Event) -> int:
        if not self._loses:
            self.kept.append(event.dataset)
        return 0x0000

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        for each in self.kept:
            if each.SOPInstanceUID == query.SOPInstanceUID and each.StudyInstanceUID == query.StudyInstanceUID:
                yield 0xFF00, query
        yield 0x0000, None


@contextmanager
def archive(**how: Any) -> Iterator[tuple[FindingArchive, int]]:
    """One that listens, and its port."""
    listening = how.pop("listening", {})
    made = FindingArchive(**how)
    try:
        yield made, made.start(**listening)
    finally:
        made.stop()


@pytest.fixture
def examine(run: Run, tmp_path: Path) -> Callable[..., Ran]:
    """examine("--quick", destinations="…", more="…"): doctor on a configuration of its own, as JSON."""

    def call(*options: str, port: int | None = None, tls: str = "", more: str = "", peers: str = "any") -> Ran:
        path = tmp_path / "doctor.yaml"
        where = f"{{name: pacs, ae_title: PACS, host: 127.0.0.1, port: {port}{tls}}}" if port else ""
        more = more or f"node: {{state_dir: {tmp_path / 'state'}, port: 0}}\nspool: {{min_free_mib: 1}}"
        path.write_text(f"{more}\npeers: {peers}\ndestinations: [{where}]\n")
        return run("doctor", "--quick", "--json", *options, config=path)

    return call


def _lines(ran: Ran, area: str, mark: str | None = None) -> list[str]:
    return [
        f"{each['what']} | {each['to_do']}"
        for each in ran.json["findings"]
        if each["area"] == area and mark in (None, each["mark"])
    ]


def test_all_well_is_exit_code_0_and_each_area_has_its_line(examine: Callable[..., Ran], state: StateFolder) -> None:
    with archive() as (_, port):
        ran = examine(port=port)
    assert ran.exit_code == 0, ran.stdout
    assert ran.json["well"]
    areas = list(dict.fromkeys(each["area"] for each in ran.json["findings"]))
    assert areas == [
        "configuration", "peers", "port", "clock", "disk", "files", "database", "weights", "golden", "to pacs"
    ]  # fmt: skip
    assert "sound, at revision" in _lines(ran, "database", "ok")[0]
    accepted = _lines(ran, "to pacs", "ok")
    assert "accepts the association from CTIQA, without TLS, as configured" in accepted[0]
    assert "takes sr (Comprehensive SR Storage): Explicit VR Little Endian, Implicit VR Little Endian" in accepted[1]


def test_the_page_says_for_each_failing_line_what_to_do(run: Run, config_file: Path) -> None:
    ran = run("doctor", "--quick")
    assert ran.exit_code == 1
    assert "cannot be reached: nobody listens there" in ran.stdout
    assert "see host and port" in ran.stdout
    assert "1 thing to mend." in ran.stdout


def test_a_configuration_that_cannot_be_used_is_the_only_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("node: {prot: 1}\n")
    ran = run("doctor", "--json", config=tmp_path / "bad.yaml")
    assert ran.exit_code == 1
    (line,) = _lines(ran, "configuration", "failed")
    assert "node.prot: unknown key" in line


def test_nobody_who_may_send_and_everybody_who_may_are_told(examine: Callable[..., Ran]) -> None:
    assert "nobody may send" in _lines(examine(peers="[]"), "peers", "failed")[0]
    assert "everyone may send" in _lines(examine(), "peers", "note")[0]
    assert "1 configured: ct" in _lines(examine(peers="[{name: ct, ae_titles: [CT1]}]"), "peers", "ok")[0]


def test_a_port_of_another_program_is_told(examine: Callable[..., Ran], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        more = f"node: {{state_dir: {tmp_path / 'state'}, address: 127.0.0.1, port: {port}}}"
        assert "Address already in use | see who has it" in _lines(examine(more=more), "port", "failed")[0]


def test_a_node_that_runs_and_does_not_answer_is_told(examine: Callable[..., Ran], state: StateFolder) -> None:
    with as_if_running(state):
        assert "our node runs, but" in _lines(examine(), "port", "failed")[0]


def test_a_node_that_answers_is_told(examine: Callable[..., Ran], state: StateFolder) -> None:
    with archive() as (_, port), as_if_running(state, ae_title="PACS", port=port):
        assert "our node answers on PACS@127.0.0.1" in _lines(examine(), "port", "ok")[0]
    with archive() as (_, port), as_if_running(state, ae_title="OTHER", port=port):
        assert "and lets nobody in from this machine" in _lines(examine(), "port", "ok")[0]


def test_a_clock_that_went_back_is_told(examine: Callable[..., Ran], state: StateFolder) -> None:
    database = Database(state.database)
    with database.write() as session:
        ahead = now() + timedelta(hours=2)
        session.merge(Heartbeat(process="node", pid=1, started_at=ahead, at=ahead, detail={}))
    database.close()
    assert "and the database has" in _lines(examine(), "clock", "failed")[0]


def test_a_disk_below_the_watermark_is_told(examine: Callable[..., Ran], tmp_path: Path) -> None:
    more = f"node: {{state_dir: {tmp_path / 'state'}, port: 0}}\nspool: {{min_free_mib: 999999999}}"
    assert "0xA700" in _lines(examine(more=more), "disk", "failed")[0]


def test_a_disk_on_which_nobody_may_begin_to_send_is_told(examine: Callable[..., Ran], tmp_path: Path) -> None:
    spool = "spool: {min_free_mib: 1, refuse_associations_below_mib: 999999999}"
    more = f"node: {{state_dir: {tmp_path / 'state'}, port: 0}}\n{spool}"
    assert "new associations are rejected, transiently" in _lines(examine(more=more), "disk", "failed")[0]


def test_what_is_written_is_synced_and_leaves_nothing_behind(examine: Callable[..., Ran], state: StateFolder) -> None:
    assert "8 MiB written and synced" in _lines(examine(), "disk")[-1]
    assert not list(state.root.glob(".doctor-*"))


def test_too_few_open_files_are_told(examine: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.resource, "prlimit", lambda *_: (64, 64))
    assert "may have 64 files open" in _lines(examine(), "files", "failed")[0]


def test_a_damaged_database_is_told(examine: Callable[..., Ran], state: StateFolder) -> None:
    content = bytearray(state.database.read_bytes())
    content[4096 : 4096 + 2000] = b"\xff" * 2000
    state.database.write_bytes(content)
    assert "restore it from a backup" in _lines(examine(), "database", "failed")[0]


def test_weights_that_were_replaced_are_told(
    examine: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "n2q.safetensors").write_bytes(b"other")
    monkeypatch.setattr(catalog, "N2Q_WEIGHTS", WeightsFile(tmp_path / "n2q.safetensors", "0" * 64))
    monkeypatch.setattr(catalog, "TFKT_WEIGHTS", WeightsFile(tmp_path / "none.safetensors", "0" * 64))
    wrong = _lines(examine(), "weights", "failed")
    assert len(wrong) == 2
    assert "tfkt: its weights cannot be read: No such file" in wrong[0]
    assert "is not the file that was released | install ctiqa-node again" in wrong[1]


def test_whether_the_archive_that_is_asked_for_numbers_can_be_asked_is_told(
    examine: Callable[..., Ran], tmp_path: Path
) -> None:
    more = f"node: {{state_dir: {tmp_path / 'state'}, port: 0}}\nspool: {{min_free_mib: 1}}"
    more += "\ncompleteness: {archive: pacs}"
    with archive(finds=False) as (_, port):
        assert "does not offer C-FIND" in _lines(examine(port=port, more=more), "to pacs", "failed")[0]
    with archive() as (_, port):
        assert any("offers C-FIND" in line for line in _lines(examine(port=port, more=more), "to pacs", "ok"))
        other = f"{{ae_title: PACS, host: 127.0.0.1, port: {port}}}"
        apart = examine(more=more.replace("archive: pacs", f"archive: {other}"))
        assert any("offers C-FIND" in line for line in _lines(apart, "archive", "ok"))
    assert "nobody listens" in _lines(examine(more=more.replace("archive: pacs", f"archive: {other}")), "archive")[0]


def test_whether_a_destination_commits_is_told_where_it_is_asked_to(examine: Callable[..., Ran]) -> None:
    with archive(commits=False) as (_, port):
        assert not any("Commitment" in line for line in _lines(examine(port=port), "to pacs"))
        ran = examine(port=port, tls=", commitment: true")
        assert ran.exit_code == 1
        assert "does not offer Storage Commitment" in _lines(ran, "to pacs", "failed")[0]
    with archive() as (_, port):
        ran = examine(port=port, tls=", commitment: true", peers="[{name: ct, ae_titles: [CT1]}]")
        assert any("offers Storage Commitment" in line for line in _lines(ran, "to pacs", "ok"))
        assert "no peer calls from PACS: its report is turned away" in _lines(ran, "to pacs", "note")[0]
        assert not _lines(examine(port=port, tls=", commitment: true"), "to pacs", "note")


@pytest.mark.parametrize(
    ("refused", "mark", "mentioned"),
    [
        (ComprehensiveSRStorage, "failed", "does not take sr"),
        (SecondaryCaptureImageStorage, "note", "does not take summary"),
    ],
)
def test_what_a_destination_does_not_take_is_told(
    examine: Callable[..., Ran], refused: str, mark: str, mentioned: str
) -> None:
    with archive(refuses=(refused,)) as (_, port):
        ran = examine(port=port)
    assert any(mentioned in line for line in _lines(ran, "to pacs", mark))
    assert ran.exit_code == (1 if mark == "failed" else 0)


def test_a_destination_that_does_not_know_us_is_told(examine: Callable[..., Ran]) -> None:
    with archive() as (_, port):
        ran = examine(port=port, tls=", ae_title: OTHER".replace(", ae_title", ", calling_ae_title"))
        assert ran.exit_code == 0
        made = FindingArchive()
        made._ae.require_calling_aet = ["SOMEBODY"]
        rejected = _lines(examine(port=made.start()), "to pacs", "failed")
        made.stop()
    assert "Calling AE title not recognised | let the archive know the AE title CTIQA" in rejected[0]


def test_tls_as_configured_and_not_as_configured_are_told_apart(examine: Callable[..., Ran], tmp_path: Path) -> None:
    hospital = make_hospital(tmp_path)
    tls = f", tls: {{ca: {hospital.ca}}}"
    with archive(listening={"ssl_context": hospital.server()}) as (_, secured), archive() as (_, plain):
        assert "over TLSv1.3 (TLS_" in _lines(examine(port=secured, tls=tls), "to pacs", "ok")[0]
        assert "speaks TLS on this port, and is called without" in _lines(examine(port=secured), "to pacs", "failed")[0]
        assert "speaks no TLS on this port" in _lines(examine(port=plain, tls=tls), "to pacs", "failed")[0]
    assert (
        "none.pem cannot be read"
        in _lines(examine(port=plain, tls=", tls: {ca: none.pem}"), "configuration", "failed")[0]
    )


def test_a_test_object_is_sent_only_when_asked_for_and_is_found_again(examine: Callable[..., Ran]) -> None:
    with archive() as (listening, port):
        assert examine(port=port).exit_code == 0
        assert listening.kept == []
        ran = examine("--send-test", port=port)
        assert ran.exit_code == 0
        assert "the test object is found by C-FIND" in _lines(ran, "to pacs", "ok")[-1]
        examine("--send-test", port=port)
    assert len({each.SOPInstanceUID for each in listening.kept}) == 1
    assert listening.kept[0].PatientID == "CTIQA-TEST"


def test_a_test_object_that_is_lost_is_told(examine: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctiqa_node.doctor.destinations.FIND_SECONDS", 0.5)
    with archive(loses=True) as (_, port):
        assert "is not found by C-FIND" in _lines(examine("--send-test", port=port), "to pacs", "failed")[0]
    with archive(finds=False) as (_, port):
        ran = examine("--send-test", port=port)
    assert "C-FIND is not offered" in _lines(ran, "to pacs", "note")[0]
    assert ran.exit_code == 0


def test_the_sop_classes_that_are_asked_for_are_those_that_are_made() -> None:
    assert {OutputKind(name): uid for name, uid in SOP_CLASSES.items()} == MADE
