"""An archive that is asked how many instances a series has: it can make us wait for more, and never for long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind
from sqlalchemy import select

from ctiqa_node import counting
from ctiqa_node.config import Config
from ctiqa_node.counting import Counting
from ctiqa_node.db.columns import now
from ctiqa_node.db.evidence import ArchiveCount
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import SeriesState
from ctiqa_node.db.tables import AssessedVolume, Series
from ctiqa_node.ingest import Ingest
from ctiqa_node.results import series_result
from ctiqa_node.spool import Spool
from ctiqa_node.story import tell
from support.desk import Desk
from support.slices import ct_datasets, received


class Catalogue:
    """An archive that only answers C-FIND, for the number of instances that it is said to have."""

    def __init__(self) -> None:
        self.has: int | None = 0
        """None: it has never heard of the series."""
        self.counts = True
        """Whether it knows Number of Series Related Instances."""
        self.status = 0x0000
        self.queries: list[str] = []
        self._ae = AE(ae_title="PACS")
        self._ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        server = self._ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, self._find)])
        self.port = server.socket.getsockname()[1]

    def stop(self) -> None:
        self._ae.shutdown()

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        self.queries.append(query.QueryRetrieveLevel)
        if self.status:
            yield self.status, None
            return
        of_series = query.QueryRetrieveLevel == "SERIES"
        for number in range(0 if self.has is None else 1 if of_series else self.has):
            answer = Dataset()
            answer.QueryRetrieveLevel = query.QueryRetrieveLevel
            answer.SeriesInstanceUID = query.SeriesInstanceUID
            if of_series and self.counts:
                answer.NumberOfSeriesRelatedInstances = self.has
            elif not of_series:
                answer.SOPInstanceUID = f"2.25.{number + 1}"
            yield 0xFF00, answer
        yield 0x0000, None


@pytest.fixture
def catalogue() -> Iterator[Catalogue]:
    made = Catalogue()
    yield made
    made.stop()


class Quiet:
    """Ingest and counting that look when told to, with a series of five slices that is quiet."""

    def __init__(self, database: Database, folder: Path, port: int) -> None:
        archive = {"ae_title": "PACS", "host": "127.0.0.1", "port": port}
        self.database = database
        self.config = Config(
            completeness={"archive": archive, "wait_seconds": 60, "answer_seconds": 10}, series={"quiet_seconds": 5}
        )
        self.counting = Counting(self.config, database)
        self.ingest = Ingest(database, Spool(folder / "spool", 0), self.config.series, self.counting.may_close)
        for dataset in ct_datasets(folder / "ct", 5):
            self.ingest.receive(received(dataset))
        self.let_pass(6)

    def let_pass(self, seconds: float) -> None:
        self.ingest._heard.clear()
        with self.database.write() as session:
            for row in session.scalars(select(Series)):
                row.last_instance_at -= timedelta(seconds=seconds)
            for count in session.scalars(select(ArchiveCount)):
                count.asked_at -= timedelta(seconds=seconds)

    def look(self) -> SeriesState:
        self.counting.ask_due()
        self.ingest.close_quiet_series()
        with self.database.read() as session:
            return session.scalars(select(Series)).one().state

    def said(self) -> ArchiveCount:
        with self.database.read() as session:
            return session.scalars(select(ArchiveCount)).one()


@pytest.fixture
def quiet(database: Database, tmp_path: Path, catalogue: Catalogue) -> Quiet:
    return Quiet(database, tmp_path, catalogue.port)


@pytest.mark.parametrize(("has", "counts"), [(5, True), (5, False), (3, True), (None, True)])
def test_a_series_of_which_the_archive_has_no_more_goes_on(
    quiet: Quiet, catalogue: Catalogue, has: int | None, counts: bool
) -> None:
    catalogue.has, catalogue.counts = has, counts
    assert quiet.look() is SeriesState.COMPLETE
    assert quiet.said().instances == (has or 0)
    assert catalogue.queries == ["SERIES", "IMAGE"][: 1 if counts or has is None else 2]


def test_a_series_of_which_the_archive_has_more_is_waited_for_until_it_is_here(
    quiet: Quiet, catalogue: Catalogue
) -> None:
    catalogue.has = 8
    assert [quiet.look(), quiet.look()] == [SeriesState.RECEIVING] * 2
    assert len(catalogue.queries) == 1, "it is not asked every second"
    quiet.let_pass(counting.AGAIN_SECONDS)
    catalogue.has = 5
    assert quiet.look() is SeriesState.COMPLETE
    assert len(catalogue.queries) == 2


def test_but_not_for_ever_and_the_reason_is_told(quiet: Quiet, catalogue: Catalogue) -> None:
    catalogue.has = 8
    assert quiet.look() is SeriesState.RECEIVING
    quiet.let_pass(60)
    assert quiet.look() is SeriesState.COMPLETE
    with quiet.database.read() as session:
        (asked,) = [h for h in tell(session, session.scalars(select(Series)).one()).happenings if "asked" in h.what]
    assert (asked.what, asked.detail) == (
        "PACS asked how many instances there are", "it has 8 instances of the series"
    )  # fmt: skip


def test_an_archive_that_refuses_or_is_down_holds_up_nothing_and_is_not_asked_for_a_while(
    quiet: Quiet, catalogue: Catalogue
) -> None:
    catalogue.status = 0xA700
    assert quiet.look() is SeriesState.COMPLETE
    assert "answered C-FIND with 0xA700" in str(quiet.said().trouble)
    with quiet.database.write() as session:
        session.scalars(select(Series)).one().state = SeriesState.STALE
    quiet.let_pass(6)
    with quiet.database.write() as session:
        session.delete(session.scalars(select(ArchiveCount)).one())
    assert quiet.look() is SeriesState.COMPLETE
    assert len(catalogue.queries) == 1
    assert "0xA700" in str(quiet.said().trouble)


def test_should_nobody_ask_the_series_goes_on_all_the_same(quiet: Quiet) -> None:
    assert quiet.ingest.close_quiet_series() == 0
    quiet.let_pass(40)
    assert quiet.ingest.close_quiet_series() == 1


def test_an_answer_from_before_the_last_instance_does_not_count(quiet: Quiet, catalogue: Catalogue) -> None:
    catalogue.has = 8
    quiet.look()
    with quiet.database.write() as session:
        session.scalars(select(ArchiveCount)).one().asked_at -= timedelta(seconds=30)
    catalogue.has = 5
    assert quiet.look() is SeriesState.COMPLETE
    assert len(catalogue.queries) == 2


def test_the_archive_may_be_a_destination_that_there_is() -> None:
    known = [{"name": "pacs", "ae_title": "PACS", "host": "h", "port": 104}]
    asked = Config(destinations=known, completeness={"archive": "pacs"}).queried_archive()
    assert asked is not None
    assert (asked.ae_title, asked.host, asked.port) == ("PACS", "h", 104)
    with pytest.raises(ValueError, match="no destination is called 'other'"):
        Config(destinations=known, completeness={"archive": "other"})


def test_what_the_archive_said_is_recorded_with_the_verdict(desk: Desk) -> None:
    desk.receive()
    with desk.database.write() as session:
        series = session.scalars(select(Series)).one()
        session.add(ArchiveCount(series_id=series.id, archive="PACS", asked_at=now(), instances=7))
    desk.work()
    with desk.database.read() as session:
        (volume,) = session.scalars(select(AssessedVolume))
        assert (volume.completeness, volume.missing_slices) == ("gaps", 2)
        assert volume.evidence == [
            "no gap between neighbouring slices", "PACS has 7 instances of the series, and 5 came here"
        ]  # fmt: skip
        told = series_result(session, session.scalars(select(Series)).one(), with_slices=False)
        assert told.completeness_evidence == volume.evidence
    (report,) = desk.outputs.rglob("*-sr.dcm")
    assert b"PACS has 7 instances of the series, and 5 came here" in report.read_bytes()
