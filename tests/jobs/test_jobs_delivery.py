"""Couriers against real archives: sent, put off, refused, given up; and none holds up another."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.uid import ComprehensiveSRStorage, SecondaryCaptureImageStorage
from sqlalchemy import select

from ctiqa_node.config import DeliverySection, Destination
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, OutputKind, SeriesState
from ctiqa_node.db.tables import Delivery, Series
from ctiqa_node.delivery import Courier, drop, end_unknown, retry, stop_couriers
from ctiqa_node.dimse.storage_scu import send
from ctiqa_node.errors import CtiqaError
from ctiqa_node.results import _warning
from ctiqa_node.series import SeriesEvent, apply_event
from ctiqa_node.settling import settle
from support.peers import Archive
from support.rows import add_output, add_series
from support.slices import KINDS, result_files
from support.waiting import eventually

QUICK = DeliverySection(first_retry_seconds=0.2, max_retry_seconds=0.5, connection_timeout_seconds=2)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """The folder of outputs."""
    return result_files(tmp_path / "outputs")


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
    # What is sent, and no more: no Comprehensive 3D SR (…88.34) to fall back from, in particular.
    assert set(archive.proposed) == {ComprehensiveSRStorage, SecondaryCaptureImageStorage}


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


def test_a_warning_counts_as_sent_and_is_told(
    database: Database, add_results: Callable[..., int], courier_to: Callable[..., Courier]
) -> None:
    add_results("pacs")
    with Archive() as archive:
        archive.answers = {ComprehensiveSRStorage: 0xB000, SecondaryCaptureImageStorage: 0xB123}
        courier_to(archive.port).send_due()
    assert _states(database) == [DeliveryState.SENT] * 2
    with database.read() as session:
        found = [_warning(each) for each in session.scalars(select(Delivery).order_by(Delivery.id))]
    assert found == [("pacs", "Warning 0xB000: elements were changed"), ("pacs", "Warning 0xB123")]


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
        ((DeliveryState.SENT, DeliveryState.REFUSED), SeriesState.DELIVERED),
        ((DeliveryState.REFUSED, DeliveryState.SENT), SeriesState.UNDELIVERED),
        ((DeliveryState.REFUSED, DeliveryState.PENDING), SeriesState.ANALYSED),
        ((DeliveryState.FAILED, DeliveryState.REFUSED), SeriesState.UNDELIVERED),
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
        return send(*arguments)

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
