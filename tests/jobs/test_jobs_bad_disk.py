"""A disk that cannot be written is nobody's fault: work waits for it, and no try is counted."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from ctiqa_node.config import Config, NodeSection
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database, disk_trouble
from ctiqa_node.db.states import JobState, SeriesState
from ctiqa_node.db.tables import Heartbeat, Job
from ctiqa_node.health import NODE_PROCESS
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.state import StateFolder
from ctiqa_node.supervisor import Supervisor
from ctiqa_node.tasks import Assessing
from ctiqa_node.worker import PROCESS, Worker
from support.rows import add_waiting_job, new_database


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(node=NodeSection(state_dir=tmp_path / "state"))


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    folder = StateFolder(config.node.state_dir)
    folder.create()
    database = new_database(folder.database)
    yield database
    database.close()


class Broken(Assessing):
    """Fails with an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def analyse(self, job_id: int, worker: str, progress: Callable[[float], None]) -> None:
        raise self._error


def _full_database(path: Path) -> OperationalError:
    """What SQLAlchemy makes of SQLite's own word for it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("CREATE TABLE t (x)")
    return OperationalError("INSERT", {}, caught.value)


def test_what_is_the_disks_fault(tmp_path: Path) -> None:
    assert disk_trouble(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == "No space left on device"
    assert disk_trouble(OSError(errno.EROFS, os.strerror(errno.EROFS))) == "Read-only file system"
    assert disk_trouble(_full_database(tmp_path / "full")) == "database or disk is full"
    assert disk_trouble(OSError(errno.EACCES, os.strerror(errno.EACCES))) is None
    assert disk_trouble(ValueError("no disk")) is None
    with sqlite3.connect(tmp_path / "new") as connection, pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("SELECT * FROM missing")
    assert disk_trouble(OperationalError("SELECT", {}, caught.value)) is None


@pytest.mark.parametrize(
    ("number", "attempts", "state"), [(errno.ENOSPC, 0, JobState.TODO), (errno.EACCES, 3, JobState.FAILED)]
)
def test_a_full_disk_counts_as_no_try_and_another_fault_does(
    config: Config, database: Database, monkeypatch: pytest.MonkeyPatch, number: int, attempts: int, state: JobState
) -> None:
    monkeypatch.setattr("ctiqa_node.worker.DISK_WAIT", timedelta(0))
    monkeypatch.setattr("ctiqa_node.jobs.embedded.RETRY_WAIT", timedelta(0))
    with database.write() as session:
        job_id = add_waiting_job(session).id
    worker = Worker(config)
    assessing = Broken(OSError(number, os.strerror(number)))
    for _ in range(config.worker.max_attempts + 2):
        claimed = worker._claim()
        if claimed is not None:
            worker._work(assessing, claimed)
    worker._database.close()
    with database.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.attempts, job.state) == (attempts, state)
        assert job.series.state is (SeriesState.COMPLETE if state is JobState.TODO else SeriesState.FAILED)
        assert os.strerror(number) in str(job.error)


@pytest.mark.parametrize(("own", "stalled"), [(0.0, True), (500.0, False)])
def test_a_worker_that_cannot_write_its_sign_of_life_is_not_killed_for_it(
    config: Config, database: Database, own: float, stalled: bool
) -> None:
    class Process:
        pid = 4711

    with database.write() as session:
        moment = now()
        for process, pid, seconds in ((PROCESS, Process.pid, 600.0), (NODE_PROCESS, os.getpid(), own)):
            detail = {"monotonic": time.monotonic() - seconds}
            session.add(Heartbeat(process=process, pid=pid, started_at=moment, at=moment, detail=detail))
    supervisor = Supervisor(config, database)
    supervisor._process = Process()  # type: ignore[assignment]  # it has the number, which is all that is looked at
    assert supervisor._is_stalled() == stalled


def test_a_job_that_is_put_back_waits_as_long_as_is_said(database: Database) -> None:
    with database.write() as session:
        add_waiting_job(session)
        job = jobs.claim(session, "worker")
        assert job is not None
        jobs.put_back_unharmed(session, job, "the disk cannot be written", timedelta(seconds=10))
        assert job.attempts == 0
        assert job.error == "the disk cannot be written"
        assert timedelta(seconds=5) < job.not_before - now() <= timedelta(seconds=10)
