"""Destinations that are asked to commit: a result is sent only when they have, however and whenever they say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from ctiqa_node.cli import console
from ctiqa_node.commitment.asking import Asker
from ctiqa_node.commitment.promises import Promises, release_unasked
from ctiqa_node.config import DeliverySection, Destination
from ctiqa_node.db.columns import now
from ctiqa_node.db.commitments import CommitmentAsk
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, SeriesState
from ctiqa_node.db.tables import Delivery, Series
from ctiqa_node.delivery import Courier, drop, retry
from ctiqa_node.destination_health import destination_complaints, destinations_status
from ctiqa_node.dimse.commitment import Reference, Report
from ctiqa_node.dimse.commitment_scp import CommitmentScp
from ctiqa_node.story import tell
from support.committing import CommittingArchive, Way
from support.peers import Archive
from support.reception import Reception
from support.rows import add_output, add_series
from support.slices import KINDS, result_files
from support.waiting import eventually

QUICK = DeliverySection(
    first_retry_seconds=0.2, max_retry_seconds=0.5, connection_timeout_seconds=2, answer_timeout_seconds=3
)
DAY = timedelta(days=1)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return result_files(tmp_path / "outputs")


@pytest.fixture
def series_id(database: Database, outputs: Path) -> int:
    """A series that is analysed, with a report and a page to be sent to `pacs`."""
    with database.write() as session:
        series = add_series(session, SeriesState.ANALYSED, revision=1)
        for kind in KINDS:
            add_output(session, series, kind, f"{kind}.dcm", outputs, ("pacs",))
        return series.id


def destination(archive: Archive, *, commitment: bool = True) -> Destination:
    return Destination(name="pacs", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port, commitment=commitment)


class Sending:
    """A courier and an asker that do one round when told to."""

    def __init__(self, database: Database, outputs: Path, archive: Archive, settings: DeliverySection = QUICK) -> None:
        self.archive = archive
        self.database = database
        self.courier = Courier(destination(archive), "CTIQA", settings, database, outputs)
        self.asker = Asker(destination(archive), "CTIQA", settings, database)

    def deliveries(self) -> list[Delivery]:
        with self.database.read() as session:
            found = list(session.scalars(select(Delivery).order_by(Delivery.id)))
            assert all(each.tries is not None for each in found)
            return found

    def states(self) -> list[DeliveryState]:
        return [each.state for each in self.deliveries()]

    def asks(self) -> list[CommitmentAsk]:
        with self.database.read() as session:
            return list(session.scalars(select(CommitmentAsk).order_by(CommitmentAsk.id)))

    def make_due(self) -> None:
        """Let the time pass that everything waits for."""
        with self.database.write() as session:
            for delivery in session.scalars(select(Delivery)):
                delivery.next_try_at = now()

    def round(self) -> None:
        self.make_due()
        self.courier.send_due()
        self.asker.ask_due()


@contextmanager
def running(archive: CommittingArchive, database: Database, outputs: Path) -> Iterator[Sending]:
    with archive:
        yield Sending(database, outputs, archive)


@pytest.fixture
def own_port(tmp_path: Path, database: Database) -> Iterator[Callable[[], int]]:
    """The port of our SCP, which hands the reports that come there to the same database."""
    scp = CommitmentScp(Promises(database, QUICK))
    with Reception(tmp_path / "reception", commitment=lambda *_: scp) as reception:
        yield lambda: reception.port


def state_of(database: Database, series_id: int) -> SeriesState:
    with database.read() as session:
        return session.get_one(Series, series_id).state


def answers(delivery: Delivery) -> list[str]:
    return [each.answer for each in delivery.tries]


def test_a_result_counts_as_sent_when_it_is_committed_over_the_same_association(
    database: Database, outputs: Path, series_id: int
) -> None:
    with running(CommittingArchive(Way.SAME), database, outputs) as sending:
        sending.courier.send_due()
        assert sending.states() == [DeliveryState.UNCOMMITTED] * 2
        assert state_of(database, series_id) is SeriesState.ANALYSED
        sending.asker.ask_due()
        eventually(lambda: sending.states() == [DeliveryState.SENT] * 2)
        first = sending.deliveries()[0]
        assert (answers(first)[0], answers(first)[-1]) == ("Success", "committed")
        assert first.committed_at is not None
        assert state_of(database, series_id) is SeriesState.DELIVERED
        assert len({ask.transaction_uid for ask in sending.asks()}) == 1


@pytest.mark.parametrize("proposes_role", [True, False])
def test_or_over_an_association_of_the_archives_own(
    database: Database, outputs: Path, series_id: int, own_port: Callable[[], int], proposes_role: bool
) -> None:
    archive = CommittingArchive(Way.NEW, own_port)
    archive.proposes_role = proposes_role
    with running(archive, database, outputs) as sending:
        sending.round()
        eventually(lambda: sending.states() == [DeliveryState.SENT] * 2)
        eventually(lambda: archive.reported == [0x0000])
    assert state_of(database, series_id) is SeriesState.DELIVERED


def test_a_report_that_comes_after_we_have_asked_again_still_counts(
    database: Database, outputs: Path, series_id: int, own_port: Callable[[], int]
) -> None:
    archive = CommittingArchive(Way.NEVER, own_port)
    settings = QUICK.model_copy(update={"answer_timeout_seconds": 0.3})
    with archive:
        sending = Sending(database, outputs, archive, settings)
        sending.round()
        sending.round()
        assert len(archive.asked) == 2
        assert archive.asked[0].TransactionUID != archive.asked[1].TransactionUID
        assert sending.states() == [DeliveryState.UNCOMMITTED] * 2
        with database.read() as session:
            (complaint,) = destination_complaints(destinations_status(session, [destination(archive)]))
        assert complaint.startswith("pacs: 2 waiting; ARCHIVE@127.0.0.1")
        assert "has not said within 1:00:00 whether it commits; asking again" in complaint
        archive.report_anew(archive.asked[0])
        assert archive.reported == [0x0000]
        assert sending.states() == [DeliveryState.SENT] * 2
        archive.report_anew(archive.asked[1])
        assert archive.reported == [0x0000] * 2
    assert len(archive.kept) == 2, "nothing was sent twice"
    assert state_of(database, series_id) is SeriesState.DELIVERED


def test_what_is_not_committed_is_sent_again_and_what_is_committed_is_not(
    database: Database, outputs: Path, series_id: int
) -> None:
    archive = CommittingArchive(Way.SAME)
    with running(archive, database, outputs) as sending:
        sending.courier.send_due()
        lost = archive.kept.pop(0)
        sending.asker.ask_due()
        eventually(lambda: sending.states() == [DeliveryState.PENDING, DeliveryState.SENT])
        told = answers(sending.deliveries()[0])
        assert "stored, but pacs does not commit to keep it (0x0112, no such object instance)" in told
        sending.round()
        eventually(lambda: sending.states() == [DeliveryState.SENT] * 2)
    assert archive.requests.count(lost) == 2
    assert len(archive.requests) == 3
    assert state_of(database, series_id) is SeriesState.DELIVERED


def test_a_class_that_is_never_committed_ends_as_failed_and_can_be_taken_up_again(
    database: Database, outputs: Path, series_id: int
) -> None:
    archive = CommittingArchive(Way.SAME)
    archive.reasons["*"] = 0x0122
    with running(archive, database, outputs) as sending:
        sending.round()
        eventually(lambda: sending.states() == [DeliveryState.FAILED] * 2)
        assert state_of(database, series_id) is SeriesState.UNDELIVERED
        assert "commits no objects of this SOP Class" in answers(sending.deliveries()[0])[-1]
        archive.reasons.clear()
        with database.write() as session:
            for delivery in session.scalars(select(Delivery)):
                retry(session, delivery)
        sending.round()
        eventually(lambda: sending.states() == [DeliveryState.SENT] * 2)
    assert state_of(database, series_id) is SeriesState.DELIVERED


def test_an_archive_that_answers_the_question_with_an_error_is_asked_again(
    database: Database, outputs: Path, series_id: int
) -> None:
    archive = CommittingArchive(Way.SAME)
    archive.answer = 0x0110
    with running(archive, database, outputs) as sending:
        sending.round()
        waiting = sending.deliveries()[0]
        assert waiting.state is DeliveryState.UNCOMMITTED
        assert "cannot be asked to commit: Failure 0x0110" in answers(waiting)[-1]
        assert waiting.next_try_at < now() + timedelta(seconds=1), "the first retry is due soon"
        archive.answer = 0x0000
        sending.round()
        eventually(lambda: sending.states() == [DeliveryState.SENT] * 2)
    assert len(archive.kept) == 2


@pytest.mark.parametrize("offers", [True, False])
def test_without_any_commitment_a_delivery_fails_in_the_end_with_a_clear_sentence(
    database: Database, outputs: Path, series_id: int, offers: bool
) -> None:
    archive = CommittingArchive(Way.NEVER, offers=offers)
    with archive:
        sending = Sending(database, outputs, archive, QUICK.model_copy(update={"answer_timeout_seconds": 0.3}))
        sending.round()
        told = answers(sending.deliveries()[0])[-1]
        assert told.endswith("was asked to commit" if offers else "does not offer Storage Commitment")
        with database.write() as session:
            for delivery in session.scalars(select(Delivery)):
                delivery.created_at -= 7 * DAY
        sending.round()
        assert sending.states() == [DeliveryState.FAILED] * 2
        assert answers(sending.deliveries()[0])[-1] == "stored, but not committed within 7 days, 0:00:00"
    assert state_of(database, series_id) is SeriesState.UNDELIVERED


def test_a_report_that_comes_even_later_makes_good_what_had_failed(
    database: Database, outputs: Path, series_id: int
) -> None:
    with running(CommittingArchive(Way.NEVER), database, outputs) as sending:
        sending.courier.send_due()
        archive_says = Promises(database, QUICK)
        with database.write() as session:
            references = tuple(
                Reference(each.output.sop_class_uid, each.output.sop_instance_uid)
                for each in session.scalars(select(Delivery))
            )
            for delivery in session.scalars(select(Delivery)):
                session.add(CommitmentAsk(delivery=delivery, transaction_uid="2.25.7", asked_at=now()))
                delivery.created_at -= 7 * DAY
        sending.asker.ask_due()
        assert state_of(database, series_id) is SeriesState.UNDELIVERED
        assert archive_says.take(Report("2.25.8", references)) == 0x0000
        assert state_of(database, series_id) is SeriesState.UNDELIVERED, "nobody knows that transaction"
        assert archive_says.take(Report("2.25.7", references[:1])) == 0x0000
        assert sending.states() == [DeliveryState.SENT, DeliveryState.FAILED]
        assert archive_says.take(Report("2.25.7", references)) == 0x0000
    assert state_of(database, series_id) is SeriesState.DELIVERED


def test_what_was_asked_survives_a_restart_and_is_not_sent_again(
    database: Database, outputs: Path, series_id: int, own_port: Callable[[], int]
) -> None:
    archive = CommittingArchive(Way.NEVER, own_port)
    with archive:
        settings = QUICK.model_copy(update={"answer_timeout_seconds": 0.1})
        Sending(database, outputs, archive, settings).round()
        again = Sending(database, outputs, archive, settings)
        assert again.courier.send_due() is False
        assert again.asker.ask_due() is False, "the wait goes on"
        archive.report_anew(archive.asked[0])
        assert again.states() == [DeliveryState.SENT] * 2
    assert len(archive.asked) == 1


def test_when_commitment_is_switched_off_what_waits_for_it_is_sent(
    database: Database, outputs: Path, series_id: int
) -> None:
    with running(CommittingArchive(Way.NEVER), database, outputs) as sending:
        sending.courier.send_due()
        with database.write() as session:
            assert release_unasked(session, [sending.asker._destination]) == 0
        with database.write() as session:
            off = sending.asker._destination.model_copy(update={"commitment": False})
            assert release_unasked(session, [off]) == 2
        assert sending.states() == [DeliveryState.SENT] * 2
    assert state_of(database, series_id) is SeriesState.DELIVERED


def test_an_admin_can_ask_again_at_once_or_drop_what_waits_for_commitment(
    database: Database, outputs: Path, series_id: int
) -> None:
    with running(CommittingArchive(Way.NEVER), database, outputs) as sending:
        sending.courier.send_due()
        with database.write() as session:
            first, second = session.scalars(select(Delivery).order_by(Delivery.id))
            first.next_try_at = now() + DAY
            retry(session, first)
            drop(session, second)
        first, second = sending.deliveries()
        assert (first.state, second.state) == (DeliveryState.UNCOMMITTED, DeliveryState.DROPPED)
        assert first.next_try_at <= now()


def test_what_waits_for_commitment_is_told_in_words(database: Database, outputs: Path, series_id: int) -> None:
    with running(CommittingArchive(Way.NEVER), database, outputs) as sending:
        sending.courier.send_due()
        where = destination(sending.archive)
    with database.read() as session:
        (found,) = destinations_status(session, [where])
        assert (found.pending, found.uncommitted, found.sent, found.last_trouble) == (0, 2, 0, None)
        last = tell(session, session.get_one(Series, series_id)).happenings[-1]
    assert (last.what, (last.detail or "")[:42]) == (
        "revision 1 summary to pacs: Success", "sent, waiting for commitment; asks again 2"
    )  # fmt: skip
    assert console.state_of_sending("uncommitted") == "sent, waiting for commitment"
