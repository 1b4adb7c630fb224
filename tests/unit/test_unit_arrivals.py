"""Many arrivals at once: one transaction for those that wait, each with its own end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from ctiqa_node.arrivals import Arrival, Arrivals, Outcome
from ctiqa_node.ct.selection import InstanceSummary
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import AssociationOutcome, SeriesState
from ctiqa_node.db.tables import Association, Instance, Series
from ctiqa_node.dicom import ReceivedInstance
from ctiqa_node.received_header import Header
from support.rows import new_database
from support.waiting import eventually

SERIES = "1.2.3"
SUMMARY = InstanceSummary("1.2.840.10008.5.1.4.1.1.2", "CT", ("ORIGINAL", "PRIMARY"), None, 1, False, "")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """With one series that is being received, from one association."""
    database = new_database(tmp_path / "ctiqa.sqlite")
    moment = now()
    with database.write() as session:
        session.add(
            Series(
                series_instance_uid=SERIES, study_instance_uid="1.2", state=SeriesState.RECEIVING, state_since=moment,
                first_instance_at=moment, last_instance_at=moment,
            )
        )  # fmt: skip
        session.add(
            Association(
                id=1, calling_ae_title="CT1", called_ae_title="CTIQA", address="10.0.0.1", port=104, opened_at=moment,
                outcome=AssociationOutcome.OPEN,
            )
        )  # fmt: skip
    yield database
    database.close()


def _arrival(number: int, path: str | None = None, series: str = SERIES) -> Arrival:
    uid = f"{SERIES}.{number}"
    received = ReceivedInstance(b"", 0, "1.2.840.10008.5.1.4.1.1.2", uid, "1.2.840.10008.1.2.1", 1)
    return Arrival(received, Header(series, "1.2", "", "", "", "", "", SUMMARY), f"sha-{number}", path or uid)


def _all_at_once(arrivals: Arrivals, given: list[Arrival]) -> list[Outcome | Exception]:
    """Record each in a thread of its own, all of them waiting before the first is written."""
    ends: dict[int, Outcome | Exception] = {}

    def record(place: int) -> None:
        try:
            ends[place] = arrivals.record(given[place])
        except (IntegrityError, OperationalError, RuntimeError) as error:
            ends[place] = error

    threads = [threading.Thread(target=record, args=(place,)) for place in range(len(given))]
    with arrivals._turn:
        for thread in threads:
            thread.start()
        eventually(lambda: len(arrivals._waiting) == len(given))
    for thread in threads:
        thread.join(30)
    return [ends[place] for place in range(len(given))]


@pytest.fixture
def commits(database: Database) -> list[int]:
    counted: list[int] = []
    event.listen(database._engine, "commit", lambda connection: counted.append(1))
    return counted


def _unusual(session: Session, arrival: Arrival) -> Outcome:
    raise AssertionError(f"{arrival.path} should be an ordinary one")


def _counts(database: Database) -> tuple[int, int]:
    with database.read() as session:
        return session.scalar(select(func.count(Instance.id))) or 0, session.get_one(Association, 1).stored


def test_those_that_wait_share_a_transaction(database: Database, commits: list[int]) -> None:
    ends = _all_at_once(Arrivals(database, _unusual), [_arrival(number) for number in range(16)])
    assert ends == [Outcome.KEPT] * 16
    assert len(commits) == 1
    assert _counts(database) == (16, 16)


def test_one_that_cannot_be_written_fails_alone(database: Database) -> None:
    given = [_arrival(1), _arrival(2, path="same"), _arrival(3, path="same"), _arrival(4)]
    ends = _all_at_once(Arrivals(database, _unusual), given)
    assert sum(isinstance(end, IntegrityError) for end in ends) == 1
    assert ends.count(Outcome.KEPT) == 3
    assert _counts(database) == (3, 3)


def test_a_database_that_cannot_be_written_is_asked_once_for_all(database: Database) -> None:
    asked: list[int] = []

    def cannot(session: Session, arrival: Arrival) -> Outcome:
        asked.append(1)
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    ends = _all_at_once(Arrivals(database, cannot), [_arrival(number, series="1.9") for number in range(8)])
    assert all(isinstance(end, OperationalError) for end in ends)
    assert len(asked) == 1
    assert _counts(database) == (0, 0)


@pytest.mark.parametrize("state", [state for state in SeriesState if state is not SeriesState.RECEIVING])
def test_only_a_series_that_is_being_received_gets_instances_the_usual_way(
    database: Database, state: SeriesState
) -> None:
    with database.write() as session:
        session.scalars(select(Series)).one().state = state
    seen: list[Arrival] = []
    assert Arrivals(database, _noting(seen)).record(_arrival(1)) is Outcome.CONFLICT
    assert len(seen) == 1


def test_what_came_before_is_not_usual(database: Database) -> None:
    seen: list[Arrival] = []
    arrivals = Arrivals(database, _noting(seen))
    first = _arrival(1)
    assert arrivals.record(first) is Outcome.KEPT
    again = Arrival(first.received, first.header, "other", "elsewhere")
    assert arrivals.record(again) is Outcome.CONFLICT
    assert seen == [again]


def test_both_ways_in_one_transaction_see_each_other(database: Database) -> None:
    """The unusual way works with objects, and must not write down again what it read before."""

    def count(session: Session, arrival: Arrival) -> Outcome:
        session.get_one(Association, 1).stored += 1
        return Outcome.DUPLICATE

    arrivals = Arrivals(database, count)
    arrivals.record(_arrival(0))
    given = [_arrival(number if number % 2 else 0) for number in range(1, 9)]
    ends = _all_at_once(arrivals, given)
    assert (ends.count(Outcome.KEPT), ends.count(Outcome.DUPLICATE)) == (4, 4)
    assert _counts(database) == (5, 9)


def _noting(seen: list[Arrival]) -> Callable[[Session, Arrival], Outcome]:
    def enter(session: Session, arrival: Arrival) -> Outcome:
        seen.append(arrival)
        return Outcome.CONFLICT

    return enter
