"""Storage Commitment with a real Orthanc, both ways, and what it says of the number of instances."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import Orthanc, free_port
from pydicom import dcmread
from pydicom.uid import generate_uid
from sqlalchemy import select

from ctiqa_node.commitment.asking import Asker
from ctiqa_node.commitment.promises import Promises
from ctiqa_node.commitment.reporting import Reporter
from ctiqa_node.config import Config, DeliverySection, Destination
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, SeriesState
from ctiqa_node.db.tables import Delivery
from ctiqa_node.delivery import Courier
from ctiqa_node.dimse.commitment_scp import CommitmentScp
from ctiqa_node.dimse.query import Counted, SeriesName, count_instances
from ctiqa_node.dimse.storage_scu import Patience
from ctiqa_node.spool import Spool
from support.reception import Reception
from support.rows import add_output, add_series
from support.slices import KINDS, ct_files, result_files
from support.waiting import eventually

pytestmark = pytest.mark.peers

SETTINGS = DeliverySection(first_retry_seconds=0.3, max_retry_seconds=1, answer_timeout_seconds=5)


class Pair:
    """An Orthanc and our SCP, who know each other."""

    def __init__(self, orthanc: Orthanc, port: int) -> None:
        self.orthanc = orthanc
        self.port = port

    @property
    def destination(self) -> Destination:
        peer = self.orthanc.peer
        return Destination(name="pacs", ae_title=peer.ae_title, host=peer.host, port=peer.port, commitment=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    port = free_port()
    us = {"AET": "CTIQA", "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}
    settings = {"DicomModalities": {"ctiqa": us}, "DicomAlwaysAllowFind": True}
    with Orthanc(tmp_path_factory.mktemp("orthanc"), settings=settings) as orthanc:
        yield Pair(orthanc, port)


def committing(database: Database, spool: Spool) -> CommitmentScp:
    del spool
    return CommitmentScp(Promises(database, SETTINGS))


def test_orthanc_commits_what_it_keeps_and_gets_again_what_it_has_lost(pair: Pair, tmp_path: Path) -> None:
    outputs = result_files(tmp_path / "outputs")
    with Reception(tmp_path / "node", port=pair.port, commitment=committing) as node:
        with node.database.write() as session:
            series = add_series(session, SeriesState.ANALYSED, revision=1)
            for kind in KINDS:
                add_output(session, series, kind, f"{kind}.dcm", outputs, ("pacs",))
        courier = Courier(pair.destination, "CTIQA", SETTINGS, node.database, outputs)
        asker = Asker(pair.destination, "CTIQA", SETTINGS, node.database)

        def states() -> list[DeliveryState]:
            with node.database.read() as session:
                return list(session.scalars(select(Delivery.state).order_by(Delivery.id)))

        courier.send_due()
        assert states() == [DeliveryState.UNCOMMITTED] * 2
        with node.database.read() as session:
            lost = session.scalars(select(Delivery).order_by(Delivery.id)).first()
            assert lost is not None
            uid = lost.output.sop_instance_uid
        (found,) = pair.orthanc.find("Instance", {"SOPInstanceUID": uid})
        pair.orthanc.delete(f"/instances/{found['ID']}")
        asker.ask_due()
        eventually(lambda: states() == [DeliveryState.PENDING, DeliveryState.SENT])
        eventually(courier.send_due)
        eventually(asker.ask_due)
        eventually(lambda: states() == [DeliveryState.SENT] * 2)
        assert [each.state for each in node.series()] == [SeriesState.DELIVERED]
    assert len(pair.orthanc.find("Instance", {})) == 2


def test_orthanc_is_told_what_we_keep_and_what_we_have_lost(pair: Pair, tmp_path: Path) -> None:
    peer = pair.orthanc.peer
    known = [{"ae_title": peer.ae_title, "host": peer.host, "port": peer.port}]
    config = Config(commitment={"offered": True, "report_to": known}, retention={"days": None}, delivery=SETTINGS)
    reporters: list[Reporter] = []

    def offering(database: Database, spool: Spool) -> CommitmentScp:
        reporters.append(Reporter(config, database, spool))
        return CommitmentScp(reporter=reporters[0])

    ids = [pair.orthanc.upload(path.read_bytes())["ID"] for path in ct_files(tmp_path / "ct", 3)]
    with Reception(tmp_path / "node", port=pair.port, commitment=offering) as node:
        reporters[0].start()

        def report() -> dict[str, Any]:
            asked = pair.orthanc.ask("/modalities/ctiqa/storage-commitment", {"Resources": ids})
            return eventually(lambda: (s := pair.orthanc.ask(asked["Path"]))["Status"] != "Pending" and s)

        pair.orthanc.ask("/modalities/ctiqa/store", {"Resources": ids})
        assert (report()["Status"], len(node.instances())) == ("Success", 3)
        lost = node.instances()[1]
        node.spool.path(lost.path).unlink()
        said = report()
        assert said["Status"] == "Failure"
        assert [each["SOPInstanceUID"] for each in said["Failures"]] == [lost.sop_instance_uid]
        assert len(said["Success"]) == 2
        reporters[0].ask_to_stop()
        reporters[0].wait(5)


def test_orthanc_says_how_many_instances_it_has(pair: Pair, tmp_path: Path) -> None:
    paths = ct_files(tmp_path / "ct", 4)
    header = dcmread(paths[0], stop_before_pixels=True)
    for path in paths[:3]:
        pair.orthanc.upload(path.read_bytes())
    known = SeriesName(str(header.StudyInstanceUID), str(header.SeriesInstanceUID))
    unknown = SeriesName(known.study_uid, str(generate_uid()))
    counted = count_instances(pair.orthanc.peer, "CTIQA", [known, unknown], Patience(5, 5), None)
    assert counted == [Counted(3), Counted(0)]
