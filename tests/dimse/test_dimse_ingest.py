"""Ingest under many senders at once, and beside the closing of quiet series."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ctiqa_node.arrivals import Outcome
from ctiqa_node.config import SeriesSection
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import InstanceState, SeriesState
from ctiqa_node.db.tables import Instance, Job, Series, SeriesChange
from ctiqa_node.dicom import ReceivedInstance
from ctiqa_node.ingest import Ingest
from ctiqa_node.spool import Spool
from support.rows import new_database
from support.slices import ct_datasets, received
from support.waiting import eventually


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path / "ctiqa.sqlite")
    yield database
    database.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 0)


@pytest.fixture
def ingest(database: Database, spool: Spool) -> Ingest:
    return Ingest(database, spool, SeriesSection(quiet_seconds=0.3))


def _receive_at_once(ingest: Ingest, instances: Sequence[ReceivedInstance]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    start = threading.Barrier(len(instances), timeout=30)

    def receive(instance: ReceivedInstance) -> None:
        start.wait()
        outcomes.append(ingest.receive(instance))

    threads = [threading.Thread(target=receive, args=(instance,)) for instance in instances]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def _files(spool: Spool) -> int:
    return sum(1 for path in spool.root.rglob("*") if path.is_file())


def test_the_same_instance_from_many_senders_at_once_is_kept_once(
    ingest: Ingest, database: Database, spool: Spool, tmp_path: Path
) -> None:
    (dataset,) = ct_datasets(tmp_path / "ct", 1)
    outcomes = _receive_at_once(ingest, [received(dataset)] * 16)
    assert sorted(outcomes) == [Outcome.DUPLICATE] * 15 + [Outcome.KEPT]
    with database.read() as session:
        (row,) = session.scalars(select(Instance)).all()
    assert row.copies == 16
    assert _files(spool) == 1


def test_one_uid_with_many_contents_at_once_keeps_one_and_the_others_apart(
    ingest: Ingest, database: Database, spool: Spool, tmp_path: Path
) -> None:
    instances = []
    (dataset,) = ct_datasets(tmp_path / "ct", 1)
    for number in range(8):
        dataset.InstanceNumber = number
        instances.append(received(dataset))
    outcomes = _receive_at_once(ingest, instances)
    assert sorted(outcomes) == [Outcome.CONFLICT] * 7 + [Outcome.KEPT]
    with database.read() as session:
        states = list(session.scalars(select(Instance.state)))
    assert (states.count(InstanceState.KEPT), states.count(InstanceState.CONFLICT)) == (1, 7)
    assert _files(spool) == 8


def test_one_series_is_opened_once_by_many_senders(ingest: Ingest, database: Database, tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 12)
    assert set(_receive_at_once(ingest, [received(dataset) for dataset in datasets])) == {Outcome.KEPT}
    with database.read() as session:
        assert session.scalar(select(func.count(Series.id))) == 1
        assert session.scalar(select(func.count(Instance.id))) == 12


def test_every_revision_is_closed_with_just_what_had_come(ingest: Ingest, database: Database, tmp_path: Path) -> None:
    """A series whose slices come with pauses about as long as the quiet period, while another thread closes it."""
    datasets = ct_datasets(tmp_path / "ct", 30)
    done = threading.Event()

    def close() -> None:
        while not done.is_set():
            ingest.close_quiet_series()

    closer = threading.Thread(target=close)
    closer.start()
    pause = threading.Event()
    for index, dataset in enumerate(datasets):
        ingest.receive(received(dataset))
        if index % 6 == 5:
            pause.wait(0.32)
    eventually(lambda: _states(database) == [SeriesState.COMPLETE])
    done.set()
    closer.join(30)
    with database.read() as session:
        series = session.scalars(select(Series)).one()
        jobs = session.scalars(select(Job).order_by(Job.id)).all()
        closed = session.scalars(select(SeriesChange.detail).where(SeriesChange.to_state == "complete")).all()
    assert [job.revision for job in jobs] == list(range(1, series.revision + 1))
    assert [job.state for job in jobs] == ["superseded"] * (len(jobs) - 1) + ["todo"]
    assert closed[-1] == "30 of 30 instances"


def test_a_conflict_that_opens_a_series_closes_as_a_series_of_no_instances(
    ingest: Ingest, database: Database, tmp_path: Path
) -> None:
    (one,) = ct_datasets(tmp_path / "a", 1)
    (other,) = ct_datasets(tmp_path / "b", 1)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
    assert [ingest.receive(received(dataset)) for dataset in (one, other)] == [Outcome.KEPT, Outcome.CONFLICT]
    eventually(lambda: (ingest.close_quiet_series(), SeriesState.RECEIVING not in _states(database))[1])
    with database.read() as session:
        reasons = list(session.scalars(select(Series.reason).order_by(Series.id)))
    assert reasons[1] == "no instances"


def test_an_error_while_recording_leaves_no_file(
    ingest: Ingest, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dataset,) = ct_datasets(tmp_path / "ct", 1)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("ctiqa_node.ingest.row_values", fail)
        with pytest.raises(ZeroDivisionError):
            ingest.receive(received(dataset))
    assert _files(spool) == 0
    assert ingest.receive(received(dataset)) is Outcome.KEPT


def _states(database: Database) -> list[SeriesState]:
    with database.read() as session:
        return list(session.scalars(select(Series.state)))
