"""Senders that ask whether their instances are kept: what is answered, when, over which association, and how surely."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, generate_uid
from sqlalchemy import select

from ctiqa_node.commitment import reporting
from ctiqa_node.commitment.reporting import Reporter
from ctiqa_node.config import Config
from ctiqa_node.db.books import AuditEntry
from ctiqa_node.db.columns import now
from ctiqa_node.db.commitments import CommitmentReference, CommitmentRequest, RequestState
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Instance
from ctiqa_node.destination_health import sender_complaints
from ctiqa_node.dimse.commitment_scp import CommitmentScp
from ctiqa_node.ledger.purge import Target, purge
from ctiqa_node.network_settings import Peer
from ctiqa_node.spool import Spool
from ctiqa_node.state import StateFolder
from support.asking import OWN, SAME, Scanner, ask, pause, request_for
from support.peers import request as associate
from support.reception import Reception
from support.slices import ct_datasets
from support.waiting import eventually

CONFLICT, NO_SUCH, PROCESSING = 0x0119, 0x0112, 0x0110


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "IDLE_SECONDS", 0.15)
    monkeypatch.setattr(reporting, "POLL_SECONDS", 0.05)


def configured(scanner: Scanner | None = None) -> Config:
    """With the scanner's address, if one is given."""
    known = [] if scanner is None else [{"ae_title": scanner.ae_title, "host": "127.0.0.1", "port": scanner.port or 1}]
    quick = {
        "first_retry_seconds": 0.1, "max_retry_seconds": 0.3, "connection_timeout_seconds": 2,
        "answer_timeout_seconds": 3,
    }  # fmt: skip
    return Config(commitment={"offered": True, "report_to": known}, retention={"days": None}, delivery=quick)


@contextmanager
def node(root: Path, config: Config, **settings: object) -> Iterator[Reception]:
    made: list[Reporter] = []

    def commitment(database: Database, spool: Spool) -> CommitmentScp:
        made.append(Reporter(config, database, spool))
        return CommitmentScp(reporter=made[0])

    with Reception(root, commitment=commitment, **settings) as reception:
        made[0].start()
        try:
            yield reception
        finally:
            made[0].ask_to_stop()
            made[0].wait(5)


def requests(reception: Reception) -> list[CommitmentRequest]:
    return list(reception.rows(CommitmentRequest))


@pytest.fixture
def slices(tmp_path: Path) -> list[Dataset]:
    return ct_datasets(tmp_path / "ct", 3)


def test_what_is_kept_is_committed_over_the_same_association(slices: list[Dataset], tmp_path: Path) -> None:
    scanner = Scanner()
    with node(tmp_path / "node", configured()) as reception:
        with scanner.associated(reception.port, slices) as association:
            assert [association.send_c_store(each).Status for each in slices] == [0] * 3
            information = request_for(slices)
            assert ask(association, information) == 0x0000
            eventually(lambda: scanner.heard)
        ((way, transaction, reasons),) = scanner.heard
        assert (way, transaction) == (SAME, information.TransactionUID)
        assert reasons == {each.SOPInstanceUID: None for each in slices}
        (closed,) = eventually(lambda: [each for each in requests(reception) if each.reported_at])
        assert (closed.state, closed.committed, closed.not_committed) == (RequestState.REPORTED, 3, 0)
        assert reception.rows(CommitmentReference) == [], "what is not needed any more is not kept"
        with reception.database.read() as session:
            (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.event == "commitment answered"))
            assert (entry.who, entry.detail) == ("SCANNER", {"committed": 3, "not_committed": 0})


def test_a_sender_that_goes_on_sending_is_not_interrupted(
    slices: list[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "IDLE_SECONDS", 2.0)
    scanner = Scanner()
    with node(tmp_path / "node", configured()) as reception:
        with scanner.associated(reception.port, slices) as association:
            association.send_c_store(slices[0])
            assert ask(association, request_for(slices[:1])) == 0x0000
            until = time.monotonic() + 2.6
            while time.monotonic() < until:
                pause(0.1)
                assert association.send_c_store(slices[1]).Status == 0
            assert scanner.heard == []
            eventually(lambda: scanner.heard)
        assert scanner.heard[0][0] == SAME


def test_or_over_an_association_of_our_own_when_the_sender_has_left(slices: list[Dataset], tmp_path: Path) -> None:
    scanner = Scanner()
    with scanner.listening(), node(tmp_path / "node", configured(scanner)) as reception:
        with scanner.associated(reception.port, slices) as association:
            assert association.send_c_store(slices[0]).Status == 0
            assert ask(association, request_for(slices[:2])) == 0x0000
        eventually(lambda: scanner.heard)
        ((way, _, reasons),) = scanner.heard
        assert way == OWN
        assert reasons == {slices[0].SOPInstanceUID: None, slices[1].SOPInstanceUID: NO_SUCH}


def test_each_instance_that_is_not_kept_as_it_came_gets_its_reason(slices: list[Dataset], tmp_path: Path) -> None:
    extra = ct_datasets(tmp_path / "more", 3)
    scanner = Scanner()
    with node(tmp_path / "node", configured()) as reception:
        with scanner.associated(reception.port, slices) as association:
            for each in (*slices, *extra):
                assert association.send_c_store(each).Status == 0
            gone, changed, expired = slices
            same_uid = Dataset()
            same_uid.update(extra[0])
            same_uid.file_meta = extra[0].file_meta
            same_uid.PatientName = "Other^Content"
            assert association.send_c_store(same_uid).Status == 0
            wrong_class = Dataset()
            wrong_class.SOPClassUID, wrong_class.SOPInstanceUID = MRImageStorage, extra[1].SOPInstanceUID
            paths = {each.sop_instance_uid: reception.spool.path(each.path) for each in reception.instances()}
            paths[gone.SOPInstanceUID].unlink()
            content = bytearray(paths[changed.SOPInstanceUID].read_bytes())
            content[-1] ^= 1
            paths[changed.SOPInstanceUID].write_bytes(content)
            with reception.database.write() as session:
                of_it = select(Instance).where(Instance.sop_instance_uid == expired.SOPInstanceUID)
                session.scalars(of_it).one().expired_at = now()
            assert ask(association, request_for([*slices, extra[0], wrong_class, extra[2]])) == 0x0000
            eventually(lambda: scanner.heard)
        assert scanner.heard[0][2] == {
            gone.SOPInstanceUID: PROCESSING, changed.SOPInstanceUID: PROCESSING, expired.SOPInstanceUID: NO_SUCH,
            extra[0].SOPInstanceUID: None, extra[1].SOPInstanceUID: CONFLICT, extra[2].SOPInstanceUID: None,
        }  # fmt: skip


def test_a_sender_that_is_down_is_told_when_it_is_back(slices: list[Dataset], tmp_path: Path) -> None:
    scanner = Scanner()
    with scanner.listening():
        pass
    with node(tmp_path / "node", configured(scanner)) as reception:
        with scanner.associated(reception.port, slices) as association:
            association.send_c_store(slices[0])
            assert ask(association, request_for(slices[:1])) == 0x0000
        eventually(lambda: requests(reception)[0].attempts >= 2)
        with reception.database.read() as session:
            (complaint,) = sender_complaints(session)
        assert complaint.startswith("SCANNER waits for what we commit to; SCANNER@127.0.0.1")
        scanner.answer = 0x0110
        with scanner.listening():
            eventually(
                lambda: "does not take our report: Failure 0x0110" in (requests(reception)[0].last_trouble or "")
            )
            scanner.answer = 0x0000
            eventually(lambda: requests(reception)[0].state is RequestState.REPORTED)


def test_a_crash_between_answer_and_report_loses_neither(slices: list[Dataset], tmp_path: Path) -> None:
    scanner = Scanner()
    with scanner.listening():
        config = configured(scanner)
        with Reception(
            tmp_path / "node", commitment=lambda *books: CommitmentScp(reporter=Reporter(config, *books))
        ) as reception:  # whose reporter is never started, as if the node had died after its answer
            with scanner.associated(reception.port, slices) as association:
                association.send_c_store(slices[0])
                assert ask(association, request_for(slices[:1])) == 0x0000
            assert scanner.heard == []
            after = Reporter(config, reception.database, reception.spool)
            after.start()
            eventually(lambda: scanner.heard)
            after.ask_to_stop()
            after.wait(5)
    assert scanner.heard[0][2] == {slices[0].SOPInstanceUID: None}


def test_a_sender_without_a_known_address_that_has_left_is_given_up_and_may_ask_again(
    slices: list[Dataset], tmp_path: Path
) -> None:
    scanner, information = Scanner(), request_for(slices[:1])
    with node(tmp_path / "node", configured()) as reception:
        with scanner.associated(reception.port, slices) as association:
            association.send_c_store(slices[0])
            assert ask(association, information) == 0x0000
        eventually(lambda: requests(reception)[0].state is RequestState.FAILED)
        assert "no address of SCANNER is configured (commitment.report_to)" in str(requests(reception)[0].last_trouble)
        with scanner.associated(reception.port) as association:
            assert ask(association, information) == 0x0000
            eventually(lambda: scanner.heard)
        assert [each.state for each in requests(reception)] == [RequestState.REPORTED], "the same transaction again"


def test_what_cannot_be_asked_is_refused(slices: list[Dataset], tmp_path: Path) -> None:
    scanner, nothing, nobody = Scanner(), request_for([]), request_for(slices)
    del nobody.TransactionUID
    broken = request_for(slices)
    broken.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = ""
    with node(tmp_path / "node", configured()) as reception:
        with scanner.associated(reception.port) as association:
            assert ask(association, nothing) == 0x0115
            assert ask(association, nobody) == 0x0115
            assert ask(association, broken) == 0x0115
            assert ask(association, request_for(slices), action=2) == 0x0123
            assert ask(association, request_for(slices), instance=generate_uid()) == 0x0112
        assert requests(reception) == []


def test_it_is_not_offered_unless_switched_on_and_only_to_peers(slices: list[Dataset], tmp_path: Path) -> None:
    from pynetdicom.presentation import build_context
    from pynetdicom.sop_class import StorageCommitmentPushModel

    wanted = [build_context(StorageCommitmentPushModel)]
    with Reception(tmp_path / "off") as off:
        assert not associate(off.port, wanted).is_established
    peers = [Peer(name="ct", ae_titles=("CT1",), sop_classes=("CTImageStorage",))]
    with node(tmp_path / "node", configured(), peers=peers) as reception:
        assert associate(reception.port, wanted, calling="OTHER").is_rejected
        allowed = associate(reception.port, wanted, calling="CT1")
        assert allowed.is_established
        allowed.release()


def test_a_purge_takes_what_was_asked_for_along(slices: list[Dataset], tmp_path: Path) -> None:
    config = configured(Scanner())
    scanner = Scanner()
    with Reception(
        tmp_path / "node", commitment=lambda *books: CommitmentScp(reporter=Reporter(config, *books))
    ) as reception:
        with scanner.associated(reception.port, slices) as association:
            association.send_c_store(slices[0])
            assert ask(association, request_for(slices[:1])) == 0x0000
        assert len(reception.rows(CommitmentReference)) == 1
        folder = StateFolder(tmp_path / "node")
        folder.outputs.mkdir()
        purge(reception.database, folder, Target(study_uid=slices[0].StudyInstanceUID))
        assert reception.rows(CommitmentReference) == []
        with reception.database.write() as session:
            session.scalars(select(CommitmentRequest)).one().next_try_at = now() - timedelta(seconds=1)
        Reporter(config, reception.database, reception.spool).report_due()
        (request,) = requests(reception)
        assert (request.state, request.last_trouble) == (RequestState.FAILED, "what it asked for was purged")
        assert scanner.heard == []


def test_a_node_that_deletes_pixel_data_offers_no_commitment() -> None:
    with pytest.raises(ValueError, match=r"commitment.offered needs retention.days: null"):
        Config(commitment={"offered": True})
    assert Config(commitment={"offered": True}, retention={"days": None}).commitment.offered
