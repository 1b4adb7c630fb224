"""The worker process: watched, restarted, given up on; a job that it had in work is not lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from ctiqa_node.config import Config, NodeSection, SeriesSection, WorkerSection
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import JobState, SeriesState
from ctiqa_node.db.tables import Heartbeat, Job
from ctiqa_node.ingest import Ingest
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.results import latest_results
from ctiqa_node.spool import Spool
from ctiqa_node.state import StateFolder
from ctiqa_node.supervisor import Supervisor
from ctiqa_node.worker import PROCESS
from support.rows import add_waiting_job, new_database
from support.slices import ct_datasets, received
from support.waiting import eventually

LOADING_SECONDS = 60


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    return folder


@pytest.fixture
def database(folder: StateFolder) -> Iterator[Database]:
    database = new_database(folder.database)
    yield database
    database.close()


@pytest.fixture
def supervise(
    folder: StateFolder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Supervisor]]:
    """supervise(setting=value …): a supervisor with settings of the `worker` section, stopped at the end."""
    monkeypatch.setattr("ctiqa_node.jobs.embedded.RETRY_WAIT", timedelta(0))
    monkeypatch.setattr("ctiqa_node.supervisor.FIRST_PAUSE_SECONDS", 0.05)
    made: list[Supervisor] = []

    def make(**worker: object) -> Supervisor:
        config = Config(
            node=NodeSection(state_dir=folder.root),
            worker=WorkerSection(**{"device": "cpu", "threads": 1, "assessors": ("snr",), **worker}),
        )
        made.append(Supervisor(config, database))
        made[-1]._pause = 0.05
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop()


def _job(database: Database, job_id: int) -> Job:
    with database.read() as session:
        job = session.get_one(Job, job_id)
        assert job.series
        return job


def _kill(supervisor: Supervisor) -> int:
    pid = supervisor.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: supervisor.pid is None)
    return pid


def _watch_until_alive(supervisor: Supervisor) -> int:
    def alive() -> int | None:
        supervisor.watch()
        return supervisor.pid

    return eventually(alive, 20) or 0


def _series_that_hangs(folder: StateFolder, database: Database, tmp_path: Path) -> tuple[int, Callable[[], None]]:
    """A job of a series whose files are pipes that nobody writes to, and a way to make them readable."""
    spool = Spool(folder.spool, 0)
    ingest = Ingest(database, spool, SeriesSection(quiet_seconds=0.01))
    for dataset in ct_datasets(tmp_path / "ct", 5):
        ingest.receive(received(dataset))
    eventually(ingest.close_quiet_series)
    paths = [path for path in (folder.spool / "objects").rglob("*") if path.is_file()]
    for path in paths:
        path.rename(path.with_suffix(".kept"))
        os.mkfifo(path)

    def repair() -> None:
        for path in paths:
            path.with_suffix(".kept").replace(path)

    with database.read() as session:
        return session.scalars(select(Job.id)).one(), repair


def test_a_killed_worker_is_started_anew(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise()
    supervisor.start()
    first = _kill(supervisor)
    assert _watch_until_alive(supervisor) != first


def test_a_worker_that_dies_again_and_again_is_started_ever_more_slowly(
    supervise: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = supervise()
    pauses = []
    for _ in range(4):
        _watch_until_alive(supervisor)
        _kill(supervisor)
        supervisor.watch()
        pauses.append(supervisor._pause)
    assert pauses == [pytest.approx(pauses[0] * 2**power) for power in range(4)]


def test_a_worker_ends_when_the_node_is_gone(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise()
    supervisor.start()
    process = supervisor._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 0


def test_a_stopped_worker_is_gone_and_its_job_is_as_if_not_begun(
    supervise: Callable[..., Supervisor], database: Database
) -> None:
    supervisor = supervise()
    supervisor.start()
    pid = supervisor.pid
    assert pid is not None
    with database.write() as session:
        add_waiting_job(session)
        job = jobs.claim(session, "worker")
        assert job is not None
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    waiting = _job(database, job.id)
    assert (waiting.state, waiting.attempts, waiting.series.state) == (JobState.TODO, 0, SeriesState.COMPLETE)


def test_the_job_of_a_dead_worker_is_given_back_when_the_database_can_be_written_again(
    supervise: Callable[..., Supervisor], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database._engine.dispose()
    monkeypatch.setattr("ctiqa_node.db.session.BUSY_TIMEOUT_MS", 200)
    with database.write() as session:
        add_waiting_job(session)
        job = jobs.claim(session, "worker")
        assert job is not None
    supervisor = supervise()
    supervisor.start()
    _kill(supervisor)
    blocker = sqlite3.connect(database.path, isolation_level=None, timeout=10)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError):
        supervisor.watch()
    blocker.execute("ROLLBACK")
    _watch_until_alive(supervisor)
    given_back = _job(database, job.id)
    assert (given_back.state, given_back.attempts) == (JobState.TODO, 1)
    assert given_back.error == "the worker died: signal SIGKILL"


@pytest.mark.slow
def test_a_job_that_kills_its_worker_is_tried_again_and_then_given_up_and_can_be_retried(
    supervise: Callable[..., Supervisor], folder: StateFolder, database: Database, tmp_path: Path
) -> None:
    job_id, repair = _series_that_hangs(folder, database, tmp_path)
    supervisor = supervise(max_attempts=2)
    supervisor.start()
    for attempt in (1, 2):
        eventually(lambda: _job(database, job_id).state is JobState.DOING, LOADING_SECONDS)
        assert _job(database, job_id).attempts == attempt
        _kill(supervisor)
        _watch_until_alive(supervisor)
        if attempt == 1:
            assert _job(database, job_id).error == "the worker died: signal SIGKILL"
    job = _job(database, job_id)
    assert (job.state, job.series.state) == (JobState.FAILED, SeriesState.FAILED)
    assert job.error == "the worker died: signal SIGKILL (2 tries)"
    repair()
    with database.write() as session:
        jobs.retry(session, session.get_one(Job, job_id))
    eventually(lambda: _job(database, job_id).state is JobState.DONE, LOADING_SECONDS)
    assert _job(database, job_id).series.state is SeriesState.ANALYSED
    with database.read() as session:
        (result,) = latest_results(session, 5)
    assert [model.model for model in result.models] == ["snr"]
    assert sorted(output.kind for output in result.outputs) == ["sr", "summary"]


@pytest.mark.slow
def test_a_worker_that_makes_no_progress_is_killed_and_its_job_tried_again(
    supervise: Callable[..., Supervisor], folder: StateFolder, database: Database, tmp_path: Path
) -> None:
    job_id, _ = _series_that_hangs(folder, database, tmp_path)
    supervisor = supervise(stall_seconds=5, max_attempts=1)
    supervisor.start()
    eventually(lambda: _job(database, job_id).state is JobState.DOING, LOADING_SECONDS)

    def given_up() -> bool:
        supervisor.watch()
        return _job(database, job_id).state is JobState.FAILED

    eventually(given_up, 30)
    assert _job(database, job_id).error == "the worker died: it made no progress for 5 s and was killed (1 tries)"


@pytest.mark.slow
def test_an_idle_worker_is_not_taken_for_a_stalled_one(
    supervise: Callable[..., Supervisor], database: Database
) -> None:
    supervisor = supervise(stall_seconds=6)
    supervisor.start()
    pid = supervisor.pid
    eventually(lambda: _device(database) == "cpu", LOADING_SECONDS)
    until = supervisor._started + 8
    while time.monotonic() < until:
        supervisor.watch()
        time.sleep(0.2)
    assert supervisor.pid == pid


def _device(database: Database) -> str | None:
    with database.read() as session:
        pulse = session.get(Heartbeat, PROCESS)
        return None if pulse is None else str(pulse.detail["device"])


def test_a_clock_that_is_set_costs_no_worker_its_life(supervise: Callable[..., Supervisor], database: Database) -> None:
    supervisor = supervise(stall_seconds=30)
    supervisor.start()
    eventually(lambda: _device(database) == "cpu", LOADING_SECONDS)
    for step in (timedelta(days=1), timedelta(days=-1)):
        with database.write() as session:
            session.get_one(Heartbeat, PROCESS).at += step  # what the wall clock would now say of the same moment
        assert not supervisor._is_stalled()
