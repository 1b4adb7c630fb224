"""A worker that gets no more memory: the series waits, and is assessed when there is some."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from ctiqa_node.config import Config, NodeSection, SeriesSection, WorkerSection
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import JobState, SeriesState
from ctiqa_node.db.tables import Heartbeat, Job
from ctiqa_node.ingest import Ingest
from ctiqa_node.spool import Spool
from ctiqa_node.state import StateFolder
from ctiqa_node.supervisor import Supervisor
from ctiqa_node.worker import PROCESS
from support.rows import new_database
from support.slices import ct_datasets, received
from support.waiting import eventually

LOADING_SECONDS = 90
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
PAGE_BYTES = resource.getpagesize()


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
def supervisor(folder: StateFolder, database: Database) -> Iterator[Supervisor]:
    worker = WorkerSection(device="cpu", threads=1, assessors=("n2q",), golden_check=False)
    supervisor = Supervisor(Config(node=NodeSection(state_dir=folder.root), worker=worker), database)
    yield supervisor
    supervisor.stop()


def _ready(database: Database) -> bool:
    with database.read() as session:
        pulse = session.get(Heartbeat, PROCESS)
        return pulse is not None and pulse.detail["device"] == "cpu"


def _address_space(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * PAGE_BYTES


def _job(database: Database) -> Job:
    with database.read() as session:
        job = session.scalars(select(Job)).one()
        assert job.series
        return job


def _send(folder: StateFolder, database: Database, tmp_path: Path) -> None:
    ingest = Ingest(database, Spool(folder.spool, 0), SeriesSection(quiet_seconds=0.01))
    for dataset in ct_datasets(tmp_path / "ct", 6):
        ingest.receive(received(dataset))
    eventually(ingest.close_quiet_series)


@pytest.mark.slow
def test_a_worker_without_memory_puts_the_series_off_and_goes_on_when_there_is_some(
    supervisor: Supervisor, folder: StateFolder, database: Database, tmp_path: Path
) -> None:
    supervisor.start()
    eventually(lambda: _ready(database), LOADING_SECONDS)
    pid = supervisor.pid
    assert pid is not None
    resource.prlimit(pid, resource.RLIMIT_AS, (_address_space(pid) + (1 << 20), resource.RLIM_INFINITY))
    _send(folder, database, tmp_path)
    eventually(lambda: _job(database).error is not None, 60)
    job = _job(database)
    assert job.error is not None
    assert "memory ran out" in job.error
    assert (job.state, job.series.state, job.attempts) == (JobState.TODO, SeriesState.COMPLETE, 1)
    assert job.not_before > now() + timedelta(seconds=30)
    resource.prlimit(pid, resource.RLIMIT_AS, UNLIMITED)
    with database.write() as session:
        session.scalars(select(Job)).one().not_before = now()
    eventually(lambda: _job(database).state is JobState.DONE, 60)
    assert _job(database).series.state is SeriesState.ANALYSED
    assert supervisor.pid == pid, "the worker lived through it"
