"""Storage Commitment with a real Orthanc, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Orthanc, free_port
from sqlalchemy import select

from ctiqa_node.commitment.asking import Asker
from ctiqa_node.commitment.promises import Promises
from ctiqa_node.config import DeliverySection, Destination
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, SeriesState
from ctiqa_node.db.tables import Delivery
from ctiqa_node.delivery import Courier
from ctiqa_node.dimse.commitment_scp import CommitmentScp
from support.reception import Reception
from support.rows import add_output, add_series
from support.slices import KINDS, result_files
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


def committing(database: Database) -> CommitmentScp:
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
