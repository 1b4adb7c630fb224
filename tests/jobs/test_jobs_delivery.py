"""Couriers against real archives: sent, put off, refused, given up; and none holds up another."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import ComprehensiveSRStorage, CTImageStorage, MRImageStorage, SecondaryCaptureImageStorage
from sqlalchemy import select

from ctiqa_node.config import DeliverySection, Destination
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Delivery, DeliveryState, OutputKind, Series, SeriesState, now
from ctiqa_node.delivery import Courier, back_off, drop, end_unknown, retry, settle, stop_couriers
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.storage_scu import echo, send
from ctiqa_node.errors import CtiqaError
from ctiqa_node.series import SeriesEvent, apply_event
from support.peers import Archive
from support.rows import add_output, add_series
from support.slices import ct_datasets
from support.waiting import eventually

KINDS = {
    OutputKind.STRUCTURED_REPORT: ComprehensiveSRStorage,
    OutputKind.SUMMARY_PAGE: SecondaryCaptureImageStorage,
}
QUICK = DeliverySection(first_retry_seconds=0.2, max_retry_seconds=0.5, connection_timeout_seconds=2)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """The folder of outputs, with an `sr.dcm` and a `summary.dcm` of the right SOP Classes."""
    folder = tmp_path / "outputs"
    datasets = ct_datasets(tmp_path / "ct", 2)
    folder.mkdir()
    for dataset, (kind, sop_class) in zip(datasets, KINDS.items(), strict=True):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.save_as(folder / f"{kind}.dcm")
    return folder


@pytest.fixture
def add_results(database: Database, outputs: Path) -> Callable[..., int]:
    """add_results(destinations …): a series that is analysed, with a report and a page to be sent; its ID."""

    def add(*destinations: str) -> int:
        with database.write() as session:
            series = add_series(session, SeriesState.ANALYSED, revision=1)
            for kind in KINDS:
                add_output(session, series, kind, f"{kind}.dcm", outputs, destinations)
            return series.id

    return add


@pytest.fixture
def courier_to(database: Database, outputs: Path) -> Iterator[Callable[..., Courier]]:
    """courier_to(archive, name=…): a courier, which is stopped at the end when it was started."""
    made: list[Courier] = []

    def make(port: int, name: str = "pacs", settings: DeliverySection = QUICK, ae_title: str = "ARCHIVE") -> Courier:
        destination = Destination(name=name, ae_title=ae_title, host="127.0.0.1", port=port)
        made.append(Courier(destination, "CTIQA", settings, database, outputs))
        return made[-1]

    yield make
    stop_couriers([courier for courier in made if courier._thread.is_alive()], 10)


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _states(database: Database, name: str = "pacs") -> list[DeliveryState]:
    with database.read() as session:
        query = select(Delivery.state).where(Delivery.destination == name).order_by(Delivery.id)
        return list(session.scalars(query))


def _series_state(database: Database, series_id: int) -> SeriesState:
    with database.read() as session:
        return session.get_one(Series, series_id).state


def _delivery(database: Database, kind: OutputKind, name: str = "pacs") -> Delivery:
    with database.read() as session:
        deliveries = session.scalars(select(Delivery).where(Delivery.destination == name))
        found = next(delivery for delivery in deliveries if delivery.output.kind is kind)
        assert found.tries is not None
        return found


def test_results_are_sent_and_the_series_is_delivered(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier]
) -> None:
    series_id = add_results("pacs")
    with Archive() as archive:
        courier_to(archive.port).start()
        eventually(lambda: _states(database) == [DeliveryState.SENT] * 2)
    assert _series_state(database, series_id) is SeriesState.DELIVERED
    delivery = _delivery(database, OutputKind.STRUCTURED_REPORT)
    assert (delivery.attempts, [attempt.status for attempt in delivery.tries]) == (1, [0x0000])
    assert delivery.sent_at is not None
    assert len(archive.kept) == 2
    assert archive.callers == ["CTIQA"]


def test_an_archive_that_is_down_costs_nothing_but_time(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier], closed_port: int
) -> None:
    series_id = add_results("pacs")
    archive = Archive()
    archive.port = closed_port
    courier_to(closed_port).start()
    eventually(lambda: _delivery(database, OutputKind.SUMMARY_PAGE).attempts >= 2)
    waiting = _delivery(database, OutputKind.SUMMARY_PAGE)
    assert waiting.state is DeliveryState.PENDING
    assert waiting.next_try_at > waiting.tries[0].at
    assert "cannot be reached" in waiting.tries[0].answer
    assert waiting.tries[0].status is None
    assert _series_state(database, series_id) is SeriesState.ANALYSED
    with archive:
        eventually(lambda: _states(database) == [DeliveryState.SENT] * 2)
    assert _series_state(database, series_id) is SeriesState.DELIVERED


def test_a_courier_waits_for_the_next_try(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier], closed_port: int
) -> None:
    add_results("pacs")
    courier = courier_to(closed_port, settings=DeliverySection(first_retry_seconds=60))
    assert courier.send_due() is True
    assert courier.send_due() is False
    wait = _delivery(database, OutputKind.SUMMARY_PAGE).next_try_at - now()
    assert timedelta(seconds=50) < wait <= timedelta(seconds=60)


def test_a_refused_object_does_not_hold_up_the_other(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier]
) -> None:
    add_results("pacs")
    with Archive() as archive:
        archive.answers[ComprehensiveSRStorage] = 0xC000
        courier_to(archive.port).start()
        eventually(lambda: _states(database) == [DeliveryState.PENDING, DeliveryState.SENT])
        eventually(lambda: _delivery(database, OutputKind.STRUCTURED_REPORT).attempts >= 2)
        refused = _delivery(database, OutputKind.STRUCTURED_REPORT)
        assert (refused.tries[0].status, refused.tries[0].answer) == (0xC000, "Failure 0xC000: cannot understand")
        archive.answers.clear()
        eventually(lambda: _states(database) == [DeliveryState.SENT] * 2)


def test_a_sop_class_that_the_archive_does_not_take_does_not_hold_up_the_other(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier]
) -> None:
    add_results("pacs")
    with Archive(refused_classes=[ComprehensiveSRStorage]) as archive:
        courier_to(archive.port).send_due()
        assert _states(database) == [DeliveryState.PENDING, DeliveryState.SENT]
    assert "No presentation context" in _delivery(database, OutputKind.STRUCTURED_REPORT).tries[0].answer


def test_an_object_at_which_the_archive_aborts_does_not_hold_up_the_other(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier]
) -> None:
    add_results("pacs")
    with Archive(abort_at=ComprehensiveSRStorage) as archive:
        courier_to(archive.port).send_due()
        assert _states(database) == [DeliveryState.PENDING, DeliveryState.SENT]
        assert len(archive.callers) == 2


def test_a_dead_destination_does_not_hold_up_a_live_one(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier]
) -> None:
    series_id = add_results("dead", "pacs")
    with socket.socket() as dead, Archive() as archive:
        dead.bind(("127.0.0.1", 0))
        dead.listen()  # takes the connection and never says a word
        courier_to(dead.getsockname()[1], name="dead").start()
        courier_to(archive.port).start()
        eventually(lambda: _states(database) == [DeliveryState.SENT] * 2)
    assert _states(database, "dead") == [DeliveryState.PENDING] * 2
    assert _series_state(database, series_id) is SeriesState.ANALYSED


def test_an_unknown_host_is_an_answer_like_any_other(outputs: Path) -> None:
    peer = ApplicationEntity("ARCHIVE", "no-such-host.invalid", 104)
    (answer,) = send(peer, "CTIQA", [outputs / "sr.dcm"], 2)
    assert not answer.ok
    assert "cannot be reached" in answer.sentence
    assert "cannot be reached" in (echo(peer, "CTIQA", 2) or "")


def test_an_archive_under_another_title_rejects(outputs: Path) -> None:
    with Archive(ae_title="OTHER") as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        (answer,) = send(peer, "CTIQA", [outputs / "sr.dcm"], 2)
        assert answer.sentence.endswith("rejected the association: Called AE title not recognised")
        assert "Called AE title not recognised" in (echo(peer, "CTIQA", 2) or "")


def test_echo_finds_a_living_archive() -> None:
    with Archive() as archive:
        assert echo(ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port), "CTIQA", 2) is None


@pytest.mark.parametrize(("status", "ok"), [(0xB000, True), (0xB007, True), (0xA700, False), (0x0122, False)])
def test_a_warning_is_as_good_as_sent_and_a_failure_is_not(outputs: Path, status: int, ok: bool) -> None:
    with Archive() as archive:
        archive.answers[ComprehensiveSRStorage] = status
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        (answer,) = send(peer, "CTIQA", [outputs / "sr.dcm"], 2)
    assert (answer.ok, answer.status) == (ok, status)


def test_what_is_no_dicom_file_gets_an_answer_and_the_rest_is_sent(outputs: Path) -> None:
    (outputs / "text.txt").write_text("no DICOM")
    with Archive() as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        paths = [outputs / "text.txt", outputs / "gone.dcm", outputs / "sr.dcm"]
        answers = {answer.path.name: answer for answer in send(peer, "CTIQA", paths, 2)}
    assert [answers[name].ok for name in ("text.txt", "gone.dcm", "sr.dcm")] == [False, False, True]
    assert "not a readable DICOM file" in answers["text.txt"].sentence


def test_a_lost_output_does_not_hold_up_the_other(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier], outputs: Path
) -> None:
    add_results("pacs")
    (outputs / "sr.dcm").unlink()
    with Archive() as archive:
        courier_to(archive.port).send_due()
    assert _states(database) == [DeliveryState.PENDING, DeliveryState.SENT]


def test_after_the_configured_days_a_delivery_is_given_up(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier], closed_port: int
) -> None:
    series_id = add_results("pacs")
    with database.write() as session:
        for delivery in session.scalars(select(Delivery)):
            delivery.created_at = now() - timedelta(days=7)
    courier_to(closed_port).send_due()
    assert _states(database) == [DeliveryState.FAILED] * 2
    assert _series_state(database, series_id) is SeriesState.UNDELIVERED


def test_an_admin_takes_a_failed_delivery_up_again(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier], closed_port: int
) -> None:
    series_id = add_results("pacs")
    with database.write() as session:
        for delivery in session.scalars(select(Delivery)):
            delivery.created_at = now() - timedelta(days=8)
    courier_to(closed_port).send_due()
    with database.write() as session:
        for delivery in session.scalars(select(Delivery)):
            retry(session, delivery)
    assert _states(database) == [DeliveryState.PENDING] * 2
    assert _series_state(database, series_id) is SeriesState.ANALYSED
    with Archive() as archive:
        courier_to(archive.port).send_due()
    assert _series_state(database, series_id) is SeriesState.DELIVERED


def test_a_sent_delivery_is_not_tried_again(database: Database, add_results: Callable[..., int]) -> None:
    add_results("pacs")
    with database.write() as session:
        delivery = session.scalars(select(Delivery)).first()
        assert delivery is not None
        delivery.state = DeliveryState.SENT
        with pytest.raises(CtiqaError, match="nothing to try again"):
            retry(session, delivery)


def test_a_failed_delivery_of_an_older_revision_is_not_tried_again(
    database: Database, add_results: Callable[..., int]
) -> None:
    series_id = add_results("pacs")
    with database.write() as session:
        series = session.get_one(Series, series_id)
        for delivery in session.scalars(select(Delivery)):
            delivery.state = DeliveryState.FAILED
        settle(session, series)
        series.revision = 2
        with pytest.raises(CtiqaError, match="a newer one took its place"):
            retry(session, delivery)
        assert series.state is SeriesState.UNDELIVERED


def test_a_dropped_delivery_is_not_sent(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier]
) -> None:
    series_id = add_results("pacs")
    with database.write() as session:
        first = session.scalars(select(Delivery).order_by(Delivery.id)).first()
        assert first is not None
        drop(session, first)
        with pytest.raises(CtiqaError, match="only waiting and failed ones can be dropped"):
            drop(session, first)
    assert _series_state(database, series_id) is SeriesState.ANALYSED
    with Archive() as archive:
        courier_to(archive.port).send_due()
        assert len(archive.kept) == 1
    assert _states(database) == [DeliveryState.DROPPED, DeliveryState.SENT]
    assert _series_state(database, series_id) is SeriesState.UNDELIVERED


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((DeliveryState.SENT, DeliveryState.SENT), SeriesState.DELIVERED),
        ((DeliveryState.SENT, DeliveryState.PENDING), SeriesState.ANALYSED),
        ((DeliveryState.FAILED, DeliveryState.PENDING), SeriesState.ANALYSED),
        ((DeliveryState.FAILED, DeliveryState.SENT), SeriesState.UNDELIVERED),
        ((DeliveryState.DROPPED, DeliveryState.DROPPED), SeriesState.UNDELIVERED),
    ],
)
def test_a_series_settles_when_all_its_deliveries_have_ended(
    database: Database, add_results: Callable[..., int], states: tuple[DeliveryState, ...], expected: SeriesState
) -> None:
    series_id = add_results("pacs")
    with database.write() as session:
        for delivery, state in zip(session.scalars(select(Delivery)), states, strict=True):
            delivery.state = state
        series = session.get_one(Series, series_id)
        settle(session, series)
        settle(session, series)
        assert series.state is expected


def test_a_series_that_moved_on_is_not_settled_by_old_deliveries(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier]
) -> None:
    series_id = add_results("pacs")
    with database.write() as session:
        apply_event(session, session.get_one(Series, series_id), SeriesEvent.INSTANCE)
    with Archive() as archive:
        courier_to(archive.port).send_due()
    assert _series_state(database, series_id) is SeriesState.STALE


def test_deliveries_to_a_destination_that_is_no_longer_configured_end(
    database: Database, add_results: Callable[..., int]
) -> None:
    series_id = add_results("old")
    with database.write() as session:
        assert end_unknown(session, ["new"]) == 2
    assert _states(database, "old") == [DeliveryState.FAILED] * 2
    assert _series_state(database, series_id) is SeriesState.UNDELIVERED
    assert "no longer has this destination" in _delivery(database, OutputKind.SUMMARY_PAGE, "old").tries[0].answer


def test_a_courier_survives_what_nobody_expected(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    add_results("pacs")
    calls = []

    def send_badly_at_first(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 1:
            raise ZeroDivisionError
        return send(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("ctiqa_node.delivery.send", send_badly_at_first)
    with Archive() as archive:
        courier_to(archive.port).start()
        eventually(lambda: _states(database) == [DeliveryState.SENT] * 2)


def test_a_courier_finishes_the_object_that_it_is_sending_and_leaves_the_rest(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier]
) -> None:
    add_results("pacs")
    with Archive() as archive:
        archive.may_answer.clear()
        courier = courier_to(archive.port)
        courier.start()
        eventually(lambda: archive.requests)
        courier.ask_to_stop()
        archive.may_answer.set()
        courier.wait(10)
        assert not courier._thread.is_alive()
        assert len(archive.kept) == 1
    assert _states(database) == [DeliveryState.SENT, DeliveryState.PENDING]


@given(
    attempts=st.integers(1, 100_000),
    first=st.floats(0.01, 1000, allow_nan=False),
    longest=st.floats(0.01, 2_000_000, allow_nan=False),
)
def test_the_wait_doubles_up_to_the_longest(attempts: int, first: float, longest: float) -> None:
    settings = DeliverySection(first_retry_seconds=first, max_retry_seconds=longest)
    wait, next_wait = back_off(attempts, settings), back_off(attempts + 1, settings)
    limit = timedelta(seconds=longest)
    assert timedelta(0) < wait <= next_wait <= limit
    assert next_wait == limit or next_wait == pytest.approx(wait * 2, rel=1e-3)
    assert back_off(1, settings) == min(timedelta(seconds=first), limit)


def test_a_whole_folder_of_many_kinds_goes_over_as_many_associations_as_it_takes(tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 3)
    for dataset, sop_class in zip(datasets, (CTImageStorage, MRImageStorage, ComprehensiveSRStorage), strict=True):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
        dataset.save_as(tmp_path / f"{sop_class}.dcm")
    with Archive() as archive:
        peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
        answers = list(send(peer, "CTIQA", sorted(tmp_path.glob("*.dcm")), 2))
        assert all(answer.ok for answer in answers)
        assert sorted(archive.kept) == sorted(str(pydicom.dcmread(a.path).SOPInstanceUID) for a in answers)
