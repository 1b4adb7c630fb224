"""Archives at fault: down for hours, late, half closed; each result arrives, once, and the series ends."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pynetdicom import evt
from sqlalchemy import select

from ctiqa_node.config import DeliverySection, Destination
from ctiqa_node.db import columns
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, SeriesState
from ctiqa_node.db.tables import Delivery, Series
from ctiqa_node.delivery import Courier
from support.peers import Archive
from support.rows import add_output, add_series, new_database
from support.slices import KINDS, result_files
from support.waiting import eventually

Send = Callable[..., Courier]


class FaultyArchive(Archive):
    """Keeps what it gets, and then has something else to do for the first time of each object."""

    def __init__(self, fault: Callable[[evt.Event], None]) -> None:
        super().__init__()
        self._fault = fault
        self.contents: dict[str, set[bytes]] = {}

    def _store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        status = super()._store(event)
        self.contents.setdefault(uid, set()).add(event.request.DataSet.getvalue())
        if self.requests.count(uid) == 1:
            self._fault(event)
        return status


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path / "ctiqa.sqlite")
    yield made
    made.close()


@pytest.fixture
def series_id(database: Database, tmp_path: Path) -> int:
    outputs = result_files(tmp_path / "outputs")
    with database.write() as session:
        series = add_series(session, SeriesState.ANALYSED, revision=1)
        for kind in KINDS:
            add_output(session, series, kind, f"{kind}.dcm", outputs, ("pacs",))
        return series.id


@pytest.fixture
def courier_to(database: Database, tmp_path: Path) -> Send:
    def make(port: int, **settings: float) -> Courier:
        where = Destination(name="pacs", ae_title="ARCHIVE", host="127.0.0.1", port=port)
        quick = {"first_retry_seconds": 0.1, "max_retry_seconds": 0.2, "connection_timeout_seconds": 2, **settings}
        return Courier(where, "CTIQA", DeliverySection(**quick), database, tmp_path / "outputs")

    return make


def states(database: Database) -> list[DeliveryState]:
    with database.read() as session:
        return list(session.scalars(select(Delivery.state).order_by(Delivery.id)))


def is_delivered(database: Database, courier: Courier) -> bool:
    courier.send_due()
    with database.read() as session:
        return session.scalars(select(Series.state)).one() is SeriesState.DELIVERED


def test_an_archive_that_answers_too_late_has_each_object_once(
    database: Database, series_id: int, courier_to: Send
) -> None:
    with FaultyArchive(lambda _: threading.Event().wait(1.0)) as archive:
        courier = courier_to(archive.port, answer_timeout_seconds=0.4)
        courier.send_due()
        assert states(database) == [DeliveryState.PENDING] * 2, "it was stored, and we do not know it"
        eventually(lambda: is_delivered(database, courier))
        assert set(Counter(archive.requests).values()) == {2}
        assert len(archive.contents) == 2
        assert all(len(each) == 1 for each in archive.contents.values()), "the same again, to the byte"


def _stop_writing(event: evt.Event) -> None:
    event.assoc.dul.socket.socket.shutdown(socket.SHUT_WR)


def _stop_reading(event: evt.Event) -> None:
    event.assoc.dul.socket.socket.shutdown(socket.SHUT_RD)


@pytest.mark.parametrize("half", [_stop_writing, _stop_reading])
def test_a_connection_that_the_archive_half_closes_costs_a_try(
    database: Database, series_id: int, courier_to: Send, half: Callable[[evt.Event], None]
) -> None:
    with FaultyArchive(half) as archive:
        courier = courier_to(archive.port, answer_timeout_seconds=2)
        eventually(lambda: is_delivered(database, courier), 20)
        assert len(archive.contents) == 2
        assert all(len(each) == 1 for each in archive.contents.values())


def test_an_archive_that_is_down_for_three_hours_is_tried_now_and_then_and_gets_all_in_the_end(
    database: Database, series_id: int, courier_to: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, passed = columns.wall(), [0.0]
    monkeypatch.setattr(columns, "wall", lambda: began + passed[0])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    courier = courier_to(port, first_retry_seconds=5, max_retry_seconds=900)
    while passed[0] < 3 * 3600:
        if not courier.send_due():
            with database.read() as session:
                due = min(session.scalars(select(Delivery.next_try_at)))
            assert due.timestamp() > began + passed[0], "what is not due lies ahead"
            passed[0] = due.timestamp() - began + 0.001
    with database.read() as session:
        (tries,) = {len(each.tries) for each in session.scalars(select(Delivery))}
    assert 15 <= tries <= 25, "5 s, 10 s, … 640 s, and then every 15 min"
    archive = Archive()
    archive.port = port
    with archive:
        passed[0] += 900
        eventually(lambda: is_delivered(database, courier))
        assert sorted(Counter(archive.kept).values()) == [1, 1]
